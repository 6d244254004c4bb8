// The vendor's own client and OpenAI's, against the gateway of the environment: one JSON object.
import { LunosClient } from "@lunos/client";
import OpenAI from "openai";

const [baseUrl, apiKey] = process.argv.slice(2);
const seen = {};
const messages = [{ role: "user", content: "Hello" }];

const lunos = new LunosClient({ apiKey, baseUrl, appId: "node", retries: 0 });
seen.chat = (await lunos.chat.createCompletion({ model: "openai/gpt-4.1", messages })).choices[0].message.content;
seen.streamed = await lunos.chat.createCompletionWithStreamToString({ model: "openai/gpt-4.1", messages }, () => {});
seen.image = (await lunos.image.generate({ prompt: "a cat", model: "openai/dall-e-3" })).data.length;
const speech = await lunos.audio.textToSpeech({ text: "Hello world", voice: "alloy" });
seen.speech = [speech.contentType, speech.audioBuffer.byteLength > 1000];
seen.embedding = (await lunos.embedding.embedText("Hello", "openai/text-embedding-3-small")).length;
seen.order = (await lunos.embedding.embedMultiple(["cat", "dog"], "openai/text-embedding-3-small"))[0].join() === (await lunos.embedding.embedText("cat", "openai/text-embedding-3-small")).join();
seen.models = (await lunos.models.getModels()).length > 20;
seen.model = (await lunos.models.getModelById("openai/gpt-4o")).id;
seen.chatModels = (await lunos.models.getChatModels()).length > 10;
seen.embeddingModels = (await lunos.models.getEmbeddingModels()).length > 2;
seen.audioModels = [(await lunos.models.getAudioModels()).length > 1, (await lunos.models.getTranscriptionModels()).length > 1];
seen.search = (await lunos.models.searchModels("gpt-4o")).length > 1;
seen.usage = (await lunos.getUsage()).total_requests;
seen.account = (await lunos.getAccount()).id;

const openai = new OpenAI({ apiKey, baseURL: `${baseUrl}/v1`, maxRetries: 0 });
seen.openaiModel = (await openai.models.retrieve("openai/gpt-4o")).id;
const stream = await openai.chat.completions.create({ model: "gpt-4o", messages, stream: true });
seen.openaiStream = "";
for await (const chunk of stream) seen.openaiStream += chunk.choices[0]?.delta?.content ?? "";
seen.openaiError = await openai.chat.completions.create({ model: "lunos/error-429", messages }).catch((error) => error.status);
console.log(JSON.stringify(seen));
