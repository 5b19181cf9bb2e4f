// Asks the app over HTTP. Knows its key, its problems and its clock, and nothing of the page.

const PATIENCE = 15_000; // milliseconds; then the app counts as silent
const EXACT = 2_000; // milliseconds; the app tells whole seconds only
const KEY = "fleetscore-key";
const WHYS = { TimeoutError: `no answer within ${PATIENCE / 1000} s`, SyntaxError: "its answer was cut short" };

let ahead = 0; // of the app's clock before ours: ages must not depend on how a laptop's clock is set

/** The time by the app's clock, in milliseconds. */
export const now = () => Date.now() + ahead;

export const useKey = (key) => sessionStorage.setItem(KEY, key);

export const hasKey = () => sessionStorage.getItem(KEY) !== null;

/**
 * What comes of asking: {status, body, etag, retryAfter} of an answer, 304 without a body, or {status, problem} where
 * the app refuses or cannot tell, with status 0 where it does not answer at all. Never throws.
 */
export async function ask(path, { method = "GET", body, etag } = {}) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (etag) headers["If-None-Match"] = etag;
  if (body) headers["Content-Type"] = "application/json";
  try {
    const answer = await fetch(path, {
      method, headers, body: body && JSON.stringify(body), cache: "no-store", redirect: "manual", signal: AbortSignal.timeout(PATIENCE),
    });
    const date = Date.parse(answer.headers.get("Date") ?? "");
    if (!Number.isNaN(date)) ahead = Math.abs(date - Date.now()) < EXACT ? 0 : date - Date.now();
    if (answer.status === 401 && key !== sessionStorage.getItem(KEY)) { // another one was entered meanwhile
      return await ask(path, { method, body, etag });
    }
    if (answer.status === 401 && key) return { status: 401, problem: "the key that was entered is not known here" };
    if (answer.type === "opaqueredirect") return { status: 0, problem: "the sign-in is over; load this page anew" };
    return await read(answer);
  } catch (error) {
    return { status: 0, problem: WHYS[error.name] ?? "no connection" };
  }
}

async function read(answer) {
  const { status, headers } = answer;
  if (status === 304) return { status };
  const text = await answer.text();
  switch ((headers.get("Content-Type") ?? "").split(";")[0]) {
    case "application/json": // health says "late" with 503: an answer, no problem
      return { status, body: JSON.parse(text), etag: headers.get("ETag"), retryAfter: Number(headers.get("Retry-After")) };
    case "application/problem+json":
      return { status, problem: JSON.parse(text).detail };
    case "text/plain":
      if (answer.ok) return { status, body: text };
    // falls through
    default: // a gateway, or somebody's page to sign in
      return { status: 0, problem: `something else answers: ${status} ${answer.statusText}` };
  }
}
