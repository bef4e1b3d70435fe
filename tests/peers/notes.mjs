// A small REST resource server behind OAuth: POST /notes, GET /notes, GET /notes/{number}.
// argv: {"issuer", "client_id", "client_secret"}, the last two for introspection.
import { refusal } from './guard.mjs';
import { answer, bodyOf, serve } from './serve.mjs';

const settings = JSON.parse(process.argv[2]);
const notes = [];

serve(() => async (request, response) => {
  const { pathname } = new URL(request.url, 'http://here');
  const body = await bodyOf(request);
  if (pathname === '/health') return answer(response, 200, { status: 'ok' });
  const refused = await refusal(request, settings, 'notes');
  if (refused) {
    const headers = refused.challenge ? { 'www-authenticate': refused.challenge } : {};
    return answer(response, refused.status, { error: 'refused' }, headers);
  }
  if (pathname === '/notes' && request.method === 'GET') return answer(response, 200, notes);
  if (pathname === '/notes' && request.method === 'POST') {
    let note;
    try {
      note = JSON.parse(body);
    } catch {
      return answer(response, 400, { error: 'The body is not JSON.' });
    }
    if (typeof note?.text !== 'string') return answer(response, 422, { error: 'text must be a string.' });
    notes.push({ id: String(notes.length + 1), text: note.text });
    return answer(response, 201, notes.at(-1), { location: `/notes/${notes.length}` });
  }
  const note = notes.find(({ id }) => pathname === `/notes/${id}`);
  return note ? answer(response, 200, note) : answer(response, 404, { error: 'There is no such note.' });
});
