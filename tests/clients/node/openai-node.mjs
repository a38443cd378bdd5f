// openai-node.

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

import { NO_MODEL, PNG, QUESTION, RESULT, WRONG_KEY, caught, run, usage } from "./acting.mjs";

const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city, now.",
    parameters: {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
      additionalProperties: false,
    },
  },
};
const Person = z.object({ name: z.string(), age: z.int() });

const client = ({ baseURL, apiKey }, more = {}) => new OpenAI({ baseURL, apiKey, maxRetries: 0, ...more });
const user = (content) => [{ role: "user", content }];
const ask = (gateway, act, content = "Hello.", more = {}) =>
  client(gateway).chat.completions.create({ model: gateway.model(act), messages: user(content), ...more });
const say = (gateway, model, more = {}) =>
  client(gateway, more).chat.completions.create({ model, messages: user("Hello.") });
const callsIn = (message) =>
  (message.tool_calls ?? []).map((call) => [call.function.name, JSON.parse(call.function.arguments)]);

async function plain(gateway) {
  const answer = await ask(gateway, "plain");
  return {
    text: answer.choices[0].message.content,
    finish: answer.choices[0].finish_reason,
    usage: usage(answer.usage.prompt_tokens, answer.usage.completion_tokens),
  };
}

async function stream(gateway) {
  const pieces = [];
  let counts;
  for await (const chunk of await ask(gateway, "stream", "Hello.", {
    stream: true,
    stream_options: { include_usage: true },
  })) {
    if (chunk.choices[0]?.delta.content) pieces.push(chunk.choices[0].delta.content);
    counts = chunk.usage ?? counts;
  }
  return {
    text: pieces.join(""),
    pieces: pieces.length,
    usage: usage(counts.prompt_tokens, counts.completion_tokens),
  };
}

async function loop(gateway, act) {
  const completions = client(gateway).chat.completions;
  const messages = user(QUESTION);
  const ask = () => completions.create({ model: gateway.model(act), messages, tools: [WEATHER] });
  const message = (await ask()).choices[0].message;
  messages.push(message);
  for (const call of message.tool_calls) messages.push({ role: "tool", tool_call_id: call.id, content: RESULT });
  return { calls: callsIn(message), text: (await ask()).choices[0].message.content };
}

async function streamed(gateway) {
  const runner = client(gateway).chat.completions.stream({
    model: gateway.model("streamed"),
    messages: user(QUESTION),
    tools: [WEATHER],
  });
  return { calls: callsIn((await runner.finalChatCompletion()).choices[0].message) };
}

async function structured(gateway) {
  const answer = await client(gateway).chat.completions.parse({
    model: gateway.model("structured"),
    messages: user("Invent a person."),
    response_format: zodResponseFormat(Person, "person"),
  });
  return answer.choices[0].message.parsed;
}

async function image(gateway) {
  const parts = [
    { type: "text", text: "What is this?" },
    { type: "image_url", image_url: { url: `data:image/png;base64,${PNG}` } },
  ];
  return { text: (await ask(gateway, "image", parts)).choices[0].message.content };
}

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
  retried: async (gateway) => {
    const answer = await say(gateway, gateway.model("busy"), { maxRetries: 2 });
    return { text: answer.choices[0].message.content };
  },
});
