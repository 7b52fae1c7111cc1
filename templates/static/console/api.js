// The session and the API. The access token lives in memory; the refresh token in localStorage, so that tabs share it.

const REFRESH = "des.refresh";
let access = null;

export class ApiError extends Error {
  constructor(status, error) {
    const fields = Object.entries(error.fields ?? {}).map(([name, texts]) => `${name}: ${texts.join(" ")}`);
    super([error.message, ...fields].join("\n"));
    this.status = status;
    this.code = error.code;
  }
}

async function request(method, path, body, token, headers = {}) {
  const answer = await fetch(`/api/${path}`, {
    method,
    headers: {
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...(token ? { Authorization: `Bearer ${token}` } : {}),
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  let content = null;
  try { content = text ? JSON.parse(text) : null; } catch { /* not ours: a proxy's page, perhaps */ }
  if (!answer.ok) throw new ApiError(answer.status, content?.error ?? { code: "HTTP", message: `Error ${answer.status}` });
  return content;
}

function keep(session) {
  access = session.token;
  localStorage.setItem(REFRESH, session.refresh);
}

export function forget() {
  access = null;
  localStorage.removeItem(REFRESH);
}

export async function enter(kind, email, password) {
  keep(await request("POST", kind, { email, password }));
}

// A refresh token works once: tabs take turns, and each uses the newest one.
const alone = (work) => (navigator.locks ? navigator.locks.request("des.refresh", work) : work());

export async function renew() {
  await alone(async () => {
    const refresh = localStorage.getItem(REFRESH);
    if (!refresh) throw new ApiError(401, { code: "TOKEN_INVALID", message: "Please log in." });
    keep(await request("POST", "token/refresh", { refresh }));
  });
}

export async function token() {
  if (!access) await renew();
  return access;
}

export function tokenRefused() {
  access = null;
}

export async function call(method, path, body, headers) {
  try {
    return await request(method, path, body, await token(), headers);
  } catch (error) {
    if (error.status !== 401) throw error;
    await renew();
    return request(method, path, body, access, headers);
  }
}

export async function leave() {
  try { await call("POST", "logout"); } catch { /* the session is over either way */ }
  forget();
}
