// The HTTP API's client: calls in, answers out, or an error that says what the router said.

const PATIENCE_MS = 10_000;

/** A call that failed. `status` is 0 where nothing was answered. */
export class ApiError extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

export class Api {
  /** `token` is a function: the token of now, or null. */
  constructor(token) {
    this.token = token;
  }

  get(path, query = {}) {
    const wanted = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
    const search = new URLSearchParams(wanted).toString();
    return this.#call("GET", search ? `${path}?${search}` : path);
  }

  post(path, body) {
    return this.#call("POST", path, body);
  }

  delete(path) {
    return this.#call("DELETE", path);
  }

  /** `/readyz`, which answers with a body whether the router is ready or not. */
  async ready() {
    const response = await this.#fetch("GET", "/readyz");
    return response.json();
  }

  async #call(method, path, body) {
    const response = await this.#fetch(method, path, body);
    const answer = await response.json().catch(() => null);
    if (response.ok && answer !== null) return answer;
    throw new ApiError(response.status, answer?.code ?? "", answer?.detail ?? `HTTP ${response.status}`);
  }

  async #fetch(method, path, body) {
    const headers = { Accept: "application/json" };
    if (this.token()) headers.Authorization = `Bearer ${this.token()}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    try {
      return await fetch(path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        credentials: "omit",
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
    } catch (error) {
      const late = error.name === "TimeoutError";
      throw new ApiError(0, "", late ? `no answer within ${PATIENCE_MS / 1000} s` : "the router cannot be reached");
    }
  }
}

/** A path, with its parts made safe. */
export function path(strings, ...parts) {
  return strings.reduce((whole, text, place) => whole + encodeURIComponent(parts[place - 1]) + text);
}
