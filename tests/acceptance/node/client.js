// OpenAI's own client for Node against a running gateway: prints what it saw as JSON.
// node client.js <base URL> <key> <model> <model that is refused> <model that is limited>
import OpenAI from "openai";

const [baseURL, apiKey, model, refused, limited] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: "Hello" }];

async function failure(action) {
  try {
    await action();
    return null;
  } catch (error) {
    const { status, code, param, type, requestID } = error;
    return { name: error.constructor.name, status, code, param, type, keys: Object.keys(error.error).sort(), requestID };
  }
}

const { data: chat, response } = await client.chat.completions.create({ model, messages }).withResponse();

const chunks = [];
const options = { stream: true, stream_options: { include_usage: true } };
for await (const chunk of await client.chat.completions.create({ model, messages, ...options })) chunks.push(chunk);

const listed = [];
for await (const each of client.models.list()) listed.push(each.id);

const embedding = await client.embeddings.create({ model: "text-embedding-node", input: "one" });

console.log(
  JSON.stringify({
    chat,
    job: response.headers.get("x-gateway-job"),
    requestID: chat._request_id,
    streamed: chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""),
    last: chunks.at(-1),
    listed,
    one: await client.models.retrieve("gpt-4o-mini"),
    vector: embedding.data[0].embedding,
    failures: {
      bad: await failure(() => client.chat.completions.create({ model, messages: [] })),
      rejected: await failure(() => client.chat.completions.create({ model: refused, messages })),
      rejectedStream: await failure(() => client.chat.completions.create({ model: refused, messages, stream: true })),
      key: await failure(() => new OpenAI({ baseURL, apiKey: "sk-nothing", maxRetries: 0 }).models.list()),
      forbidden: await failure(() => client.get(baseURL.replace("/v1", "/config"))),
      model: await failure(() => client.chat.completions.create({ model: "no-such-model", messages })),
      limited: await failure(() => client.chat.completions.create({ model: limited, messages })),
      down: await failure(() => client.chat.completions.create({ model: "down-1", messages })),
    },
  }),
);
