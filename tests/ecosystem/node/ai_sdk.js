// Vercel's AI SDK against a running gateway, of which its environment tells it; run by Node's own test runner.
import assert from "node:assert/strict";
import { test } from "node:test";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateObject, generateText, Output, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";

const { OPENAI_BASE_URL: baseURL, OPENAI_API_KEY: apiKey, MODEL } = process.env;
const options = { baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true };
const gateway = createOpenAICompatible({ name: "gateway", ...options });
const model = gateway(MODEL);
const usage = ({ inputTokens, outputTokens, totalTokens }) => [inputTokens, outputTokens, totalTokens];

const DOT =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";

const inputSchema = z.object({ city: z.string() });
const execute = async ({ city }) => `sunny in ${city}`;
const weather = tool({ description: "The weather in a city", inputSchema, execute });
const clock = tool({ description: "The time", inputSchema: z.object({}), execute: async () => "noon" });
const asked = "Ask weather and clock about 'Ōsaka 🏯'.";

const stop = stepCountIs(3);
const Recipe = z.object({
  name: z.string(),
  servings: z.number().int(),
  steps: z.array(z.object({ text: z.string(), kind: z.enum(["cook", "wait"]) })),
});
const recipe = { name: "Dal", servings: 4, steps: [{ text: "a text", kind: "cook" }] };

test("text", async () => {
  const result = await generateText({ model, system: "Be brief.", prompt: "Hello" });
  assert.equal(result.text, "You said: Hello");
  assert.equal(result.finishReason, "stop");
  assert.equal(result.response.modelId, MODEL);
  assert.deepEqual(usage(result.usage), [11, 7, 18]);
});

test("streamed text", async () => {
  const result = streamText({ model, prompt: "Hello 🏯", maxOutputTokens: 50, temperature: 0, stopSequences: ["END"] });
  const pieces = [];
  for await (const piece of result.textStream) pieces.push(piece);
  assert.ok(pieces.length > 1);
  assert.equal(pieces.join(""), "You said: Hello 🏯");
  assert.equal(await result.finishReason, "stop");
  assert.deepEqual(usage(await result.usage), [11, 7, 18]);
});

test("reasoning", async () => {
  const result = await generateText({ model, prompt: "Think first." });
  assert.equal(result.reasoningText, "Let me see.");
  assert.equal(result.text, "You said: Think first.");
  const streamed = streamText({ model, prompt: "Think first." });
  assert.equal(await streamed.reasoningText, "Let me see.");
  assert.equal(await streamed.text, "You said: Think first.");
});

test("an image", async () => {
  const content = [{ type: "text", text: "What is this?" }, { type: "image", image: Buffer.from(DOT, "base64") }];
  const result = await generateText({ model, messages: [{ role: "user", content }] });
  assert.equal(result.text, "You said: What is this? (and 1 images)");
});

test("tools that are run", async () => {
  const result = await generateText({ model, tools: { weather, clock }, stopWhen: stop, prompt: asked });
  assert.equal(result.steps.length, 2);
  assert.equal(result.steps[0].finishReason, "tool-calls");
  const { toolCalls, toolResults } = result.steps[0];
  assert.deepEqual(toolCalls.map(({ toolName, input }) => [toolName, input]), [
    ["weather", { city: "Ōsaka 🏯" }],
    ["clock", {}],
  ]);
  assert.equal(new Set(toolCalls.map(({ toolCallId }) => toolCallId)).size, 2);
  assert.deepEqual(toolResults.map(({ output }) => output), ["sunny in Ōsaka 🏯", "noon"]);
  assert.equal(result.text, "clock says: noon");
  assert.deepEqual(usage(result.totalUsage), [22, 14, 36]);
});

test("streamed tools that are run", async () => {
  const result = streamText({ model, tools: { weather, clock }, stopWhen: stop, prompt: asked });
  const parts = [];
  for await (const part of result.fullStream) parts.push(part);
  assert.deepEqual(parts.filter(({ type }) => type === "error"), []);
  const given = parts.filter(({ type }) => type === "tool-input-delta").map(({ delta }) => delta);
  assert.equal(given.join("").replaceAll(" ", ""), '{"city":"Ōsaka🏯"}{}');
  const [first, last] = await result.steps;
  assert.equal(first.finishReason, "tool-calls");
  assert.deepEqual(first.toolCalls.map(({ toolName, input }) => [toolName, input]), [
    ["weather", { city: "Ōsaka 🏯" }],
    ["clock", {}],
  ]);
  assert.equal(last.text, "clock says: noon");
  assert.deepEqual(usage(await result.totalUsage), [22, 14, 36]);
});

for (const [what, toolChoice, called] of [
  ["any tool", "required", "weather"],
  ["this tool", { type: "tool", toolName: "clock" }, "clock"],
]) {
  test(`${what} that must be called`, async () => {
    const result = await generateText({ model, tools: { weather, clock }, toolChoice, prompt: "Hello" });
    assert.deepEqual(result.toolCalls.map(({ toolName }) => toolName), [called]);
  });
}

test("no tool that may be called", async () => {
  const result = await generateText({ model, tools: { clock }, toolChoice: "none", prompt: "clock" });
  assert.equal(result.text, "You said: clock");
});

test("an object", async () => {
  const result = await generateObject({ model, schema: Recipe, prompt: "'Dal' for 4" });
  assert.deepEqual(result.object, recipe);
  assert.equal(result.finishReason, "stop");
  assert.deepEqual(usage(result.usage), [11, 7, 18]);
});

test("a streamed object", async () => {
  const result = streamObject({ model, schema: Recipe, prompt: "'Dal' for 4" });
  const partial = [];
  for await (const each of result.partialObjectStream) partial.push(each);
  assert.ok(partial.length > 1);
  assert.deepEqual(partial.at(-1), recipe);
  assert.deepEqual(await result.object, recipe);
  assert.deepEqual(usage(await result.usage), [11, 7, 18]);
});

test("any object", async () => {
  const result = await generateObject({ model, output: "no-schema", prompt: "JSON with the keys 'name' and 'size'" });
  assert.deepEqual(result.object, { name: "a name", size: "a size" });
});

test("an object after a tool", async () => {
  const output = Output.object({ schema: z.object({ answer: z.string() }) });
  const result = await generateText({ model, tools: { clock }, stopWhen: stop, output, prompt: "clock" });
  assert.deepEqual(result.steps.map(({ toolCalls }) => toolCalls.length), [1, 0]);
  assert.deepEqual(result.output, { answer: "a answer" });
});

test("a refusal", async () => {
  const refused = generateText({ model: gateway("no-such-model"), prompt: "Hello", maxRetries: 0 });
  await assert.rejects(refused, (error) => {
    assert.ok(APICallError.isInstance(error));
    assert.equal(error.statusCode, 404);
    assert.equal(error.data.error.code, "model_not_found");
    return true;
  });
});
