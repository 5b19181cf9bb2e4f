// Sends requests to the app. Knows its key, its errors and its clock, and nothing of the page.

const TIME_OUT = 15_000; // milliseconds
const EXACT = 2_000; // milliseconds; the header has whole seconds only
const KEY = "fleetscore-key";
const REASONS = { TimeoutError: `no answer within ${TIME_OUT / 1000} s`, SyntaxError: "the answer was cut off" };

let ahead = 0; // milliseconds of the app's clock ahead of this one: ages must not depend on the local clock

/** The time by the app's clock, in milliseconds. */
export const now = () => Date.now() + ahead;

export const useKey = (key) => sessionStorage.setItem(KEY, key);

export const hasKey = () => sessionStorage.getItem(KEY) !== null;

/**
 * The answer: {status, body, etag, retryAfter}, 304 without a body, or {status, problem} for an error, with status 0
 * where the app does not answer. Never throws.
 */
export async function ask(path, { method = "GET", body, etag } = {}) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (etag) headers["If-None-Match"] = etag;
  if (body) headers["Content-Type"] = "application/json";
  try {
    const answer = await fetch(path, {
      method, headers, body: body && JSON.stringify(body), cache: "no-store", redirect: "manual", signal: AbortSignal.timeout(TIME_OUT),
    });
    const date = Date.parse(answer.headers.get("Date") ?? "");
    if (!Number.isNaN(date)) ahead = Math.abs(date - Date.now()) < EXACT ? 0 : date - Date.now();
    if (answer.status === 401 && key !== sessionStorage.getItem(KEY)) { // another key was entered meanwhile
      return await ask(path, { method, body, etag });
    }
    if (answer.status === 401 && key) return { status: 401, problem: "the key is unknown" };
    if (answer.type === "opaqueredirect") return { status: 0, problem: "the sign-in has expired; reload this page" };
    return await read(answer);
  } catch (error) {
    return { status: 0, problem: REASONS[error.name] ?? "no connection" };
  }
}

async function read(answer) {
  const { status, headers } = answer;
  if (status === 304) return { status };
  const text = await answer.text();
  switch ((headers.get("Content-Type") ?? "").split(";")[0]) {
    case "application/json": // health answers 503 when it is late: not an error
      return { status, body: JSON.parse(text), etag: headers.get("ETag"), retryAfter: Number(headers.get("Retry-After")) };
    case "application/problem+json":
      return { status, problem: JSON.parse(text).detail };
    case "text/plain":
      if (answer.ok) return { status, body: text };
    // falls through
    default: // a gateway, or a sign-in page
      return { status: 0, problem: `unexpected answer: ${status} ${answer.statusText}` };
  }
}
