// What the programs share: see ../programs/acting.py, which they tell the same as.

export const QUESTION = "What is the weather in Lisbon?";
export const RESULT = "22 degrees and sunny";
export const PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
export const NO_MODEL = "no-such-model";
export const WRONG_KEY = "sk-this-is-no-key";

export const usage = (input, output) => ({ input, output });

export async function caught(act) {
  try {
    await act();
  } catch (error) {
    return { raised: error.constructor.name, says: String(error.message), status: error.status ?? error.statusCode };
  }
  return { raised: "" };
}

export async function run(acts) {
  const [baseURL, apiKey, ...providers] = process.argv.slice(2);
  const seen = {};
  for (const provider of providers) {
    const gateway = { baseURL, apiKey, model: (act) => `${provider}-${act}` };
    seen[provider] = {};
    for (const [name, act] of Object.entries(acts)) {
      try {
        seen[provider][name] = await act(gateway);
      } catch (error) {
        seen[provider][name] = { failed: String(error.stack ?? error) };
      }
    }
  }
  process.stdout.write("\n" + JSON.stringify(seen) + "\n");
}
