// Vercel's AI SDK over @ai-sdk/openai-compatible.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

import { NO_MODEL, PNG, QUESTION, RESULT, WRONG_KEY, caught, run, usage } from "./acting.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

const Person = z.object({ name: z.string(), age: z.number().int() });
const tools = {
  get_weather: tool({
    description: "The weather of a city, now.",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `${city}: ${RESULT}`,
  }),
};

const models = ({ baseURL, apiKey }, more = {}) =>
  createOpenAICompatible({
    name: "gateway",
    baseURL,
    apiKey,
    includeUsage: true,
    supportsStructuredOutputs: true,
    ...more,
  });
const generate = (gateway, act, more) =>
  generateText({ model: models(gateway)(gateway.model(act)), maxRetries: 0, ...more });
const callsIn = (steps) => steps.flatMap((step) => step.toolCalls).map((call) => [call.toolName, call.input]);

async function plain(gateway) {
  const answer = await generate(gateway, "plain", { prompt: "Hello." });
  return {
    text: answer.text,
    finish: answer.finishReason,
    usage: usage(answer.usage.inputTokens, answer.usage.outputTokens),
  };
}

async function stream(gateway) {
  const answer = streamText({ model: models(gateway)(gateway.model("stream")), prompt: "Hello.", maxRetries: 0 });
  const pieces = [];
  for await (const piece of answer.textStream) pieces.push(piece);
  const counts = await answer.usage;
  return { text: pieces.join(""), pieces: pieces.length, usage: usage(counts.inputTokens, counts.outputTokens) };
}

async function loop(gateway, act) {
  const answer = await generate(gateway, act, { prompt: QUESTION, tools, stopWhen: stepCountIs(3) });
  return { calls: callsIn(answer.steps), text: answer.text };
}

async function streamed(gateway) {
  const model = models(gateway)(gateway.model("streamed"));
  const answer = streamText({ model, prompt: QUESTION, tools, maxRetries: 0, stopWhen: stepCountIs(1) });
  await answer.consumeStream();
  return { calls: callsIn(await answer.steps) };
}

async function structured(gateway) {
  const output = Output.object({ schema: Person });
  return (await generate(gateway, "structured", { prompt: "Invent a person.", output })).output;
}

async function image(gateway) {
  const content = [
    { type: "text", text: "What is this?" },
    { type: "file", mediaType: "image/png", data: PNG },
  ];
  return { text: (await generate(gateway, "image", { messages: [{ role: "user", content }] })).text };
}

const say = (gateway, model, more = {}, maxRetries = 0) =>
  generateText({ model: models(gateway, more)(model), prompt: "Hello.", maxRetries });

await run({
  plain,
  stream,
  tool: (gateway) => loop(gateway, "tool"),
  tools: (gateway) => loop(gateway, "tools"),
  streamed,
  structured,
  image,
  401: (gateway) => caught(() => say(gateway, gateway.model("plain"), { apiKey: WRONG_KEY })),
  404: (gateway) => caught(() => say(gateway, NO_MODEL)),
  429: (gateway) => caught(() => say(gateway, gateway.model("throttled"))),
  retried: async (gateway) => ({ text: (await say(gateway, gateway.model("busy"), {}, 2)).text }),
});
