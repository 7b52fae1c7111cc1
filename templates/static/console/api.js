// Reads from the API. What changes anything goes through the server's forms, by htmx.

import { access, forget, leave, renew } from "./session.js";

export class ApiError extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.code = error.code;
  }
}

async function get(path, token) {
  const answer = await fetch(`/api/${path}`, { headers: { Authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(20_000) });
  let content = null;
  try { content = await answer.json(); } catch { /* not ours: a proxy's page, perhaps */ }
  if (!answer.ok) throw new ApiError(answer.status, content?.error ?? { code: "HTTP", message: `The server answered ${answer.status}.` });
  return content;
}

/** The answer's content. Rejects with ApiError, SessionEnded, or what fetch raises. */
export async function read(path, values = {}) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== null && value !== undefined));
  const url = query.size ? `${path}?${query}` : path;
  try {
    return await get(url, await access());
  } catch (error) {
    if (error.status !== 401) throw error;
    forget();
    try {
      return await get(url, await renew());
    } catch (again) {
      if (again.status === 401) leave();
      throw again;
    }
  }
}
