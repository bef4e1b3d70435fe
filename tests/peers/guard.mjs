// A resource server's gate: asks the authorization server about each token (RFC 7662), keeps nothing.

/** @returns {Promise<object|null>} what to answer instead, or null where the caller may pass. */
export async function refusal(request, { issuer, client_id, client_secret }, scope) {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ');
  if (scheme.toLowerCase() !== 'bearer' || !token) return { status: 401, challenge: 'Bearer' };
  // RFC 6749, section 2.3.1: each half is form-encoded first.
  const credentials = btoa(`${encodeURIComponent(client_id)}:${encodeURIComponent(client_secret)}`);
  const response = await fetch(`${issuer}/token/introspection`, {
    method: 'POST',
    headers: { authorization: `Basic ${credentials}` },
    body: new URLSearchParams({ token }),
  });
  if (response.status !== 200) return { status: 500, challenge: undefined };
  const found = await response.json();
  if (!found.active) return { status: 401, challenge: 'Bearer error="invalid_token"' };
  const enough = (found.scope ?? '').split(' ').includes(scope);
  return enough ? null : { status: 403, challenge: 'Bearer error="insufficient_scope"' };
}
