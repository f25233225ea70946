// What the page asks of the service.

const trianglesOf = new Map();

/** The answer of a request as JSON; an Error with the service's own words where it says no. */
async function asked(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The service does not answer. Is it still running?");
  }
  const body = await answer.json().catch(() => ({ error: `The service answers ${answer.status}.` }));
  if (!answer.ok) throw new Error(body.error ?? `The service answers ${answer.status}.`);
  return body;
}

export function models() {
  return asked("models");
}

/** Faces of a picture (a Blob) of at least `threshold`, with `milliseconds` that it took. */
export async function detect(picture, { model, threshold, mesh, signal }) {
  const query = new URLSearchParams({ model, threshold });
  if (mesh) {
    query.set("mesh", "true");
    query.set("vertices", "true");
  }
  const began = performance.now();
  const headers = { "Content-Type": picture.type.startsWith("image/") ? picture.type : "application/octet-stream" };
  const found = await asked(`detect?${query}`, { method: "POST", body: picture, headers, signal });
  return { ...found, milliseconds: performance.now() - began, triangles: mesh ? await triangles(model) : null };
}

function triangles(model) {
  if (!trianglesOf.has(model)) {
    trianglesOf.set(model, asked(`models/${encodeURIComponent(model)}/triangles`));
    trianglesOf.get(model).catch(() => trianglesOf.delete(model));
  }
  return trianglesOf.get(model);
}
