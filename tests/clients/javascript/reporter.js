// What node's test runner found, one JSON object a line, for pytest to report each test by its name.

export default async function* reporter(source) {
  for await (const { type, data } of source) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    const error = data.details?.error;
    const why = error?.cause?.stack ?? error?.cause ?? error?.stack ?? "";
    yield `${JSON.stringify({ name: data.name, passed: type === "test:pass", why: String(why) })}\n`;
  }
}
