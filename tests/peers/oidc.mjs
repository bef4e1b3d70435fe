// An OAuth 2.0 authorization server: client credentials, introspection, revocation, opaque tokens.
// argv: {"clients": [{"client_id", "client_secret"}], "life": seconds}
// GET /counts tells how many requests for a token there were; PUT /life sets the life of later tokens.
import { Provider } from 'oidc-provider';
import { answer, bodyOf, serve } from './serve.mjs';

const settings = { life: 600, clients: [], ...JSON.parse(process.argv[2] ?? '{}') };
const counts = { issued: 0, refused: 0, basic: 0, post: 0 };
const SCOPES = 'notes patients';

const configuration = {
  clients: settings.clients.map((client) => ({
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    ...client,
  })),
  scopes: SCOPES.split(' '),
  ttl: { ClientCredentials: () => settings.life },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      getResourceServerInfo: (_context, resource) => ({
        accessTokenFormat: 'opaque',
        accessTokenTTL: settings.life,
        audience: resource,
        scope: SCOPES,
      }),
    },
  },
};

serve((url) => {
  const provider = new Provider(url, configuration);
  provider.on('client_credentials.saved', () => (counts.issued += 1));
  provider.on('server_error', (_context, error) => console.error(error));
  provider.on('grant.error', () => (counts.refused += 1));
  const oidc = provider.callback();
  return async (request, response) => {
    // The provider takes either way from every client: only this tells which one was meant.
    if (request.url === '/token') counts[request.headers.authorization ? 'basic' : 'post'] += 1;
    if (request.url === '/counts') return answer(response, 200, counts);
    if (request.url !== '/life') return oidc(request, response);
    settings.life = JSON.parse(await bodyOf(request));
    return answer(response, 204);
  };
});
