// A model server for the agents under test. It logs their requests and gives short answers. It speaks
// Anthropic's messages, OpenAI's responses, OpenAI's chat completions and Gemini's content generation, on
// loopback alone.
//
//   MODEL_PORT  the port
//   MODEL_LOG   a file of JSON lines: {"text": ID, "is": "…"} for each new text of a user,
//               {"request": N, "said": [ID, …]} when a request has come in, with all that the user has said
//               in that conversation, and {"answered": N} when its answer was sent to the end
//   MODEL_HOLD  a file: while it exists, no answer comes to its end
//
// A text that begins with `TOOL ` is answered by a call of the agent's shell with the rest of it.
'use strict';
const http = require('http');
const fs = require('fs');

const { MODEL_PORT, MODEL_LOG, MODEL_HOLD } = process.env;
const SHELLS = ['Bash', 'bash', 'exec_command', 'shell_command', 'run_shell_command', 'shell'];

const log = (entry) => fs.appendFileSync(MODEL_LOG, JSON.stringify(entry) + '\n');
const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

// The user's texts, in order. The agents add their own notes between tags.
const NOTE = /<([a-z_-]+)>[\s\S]*?<\/\1>/g;
const partsOf = (content) => (typeof content === 'string' ? [{ text: content }] : content || []);
function said(messages) {
  return messages
    .filter((message) => message.role === 'user')
    .flatMap((message) => partsOf(message.content))
    .map((part) => (part.text || '').replace(NOTE, '').trim())
    .filter((text) => text && !text.startsWith('# AGENTS'));
}

const known = new Map();
function idOf(text) {
  if (!known.has(text)) {
    known.set(text, known.size + 1);
    log({ text: known.get(text), is: text });
  }
  return known.get(text);
}

// The answer: words, or a command for the agent's shell.
function answerTo(texts, toolEnded, tools) {
  const last = texts[texts.length - 1] || '';
  const shell = SHELLS.find((name) => tools.includes(name));
  if (last.startsWith('TOOL ') && !toolEnded && shell) return { shell, command: last.slice(5) };
  return { words: toolEnded ? 'The tool has run.' : `That was text ${texts.length}.` };
}

const held = (response) => MODEL_HOLD && fs.existsSync(MODEL_HOLD) && !response.destroyed;

// Sends the words piece by piece, and does not finish while MODEL_HOLD exists.
async function* pieces(words, response) {
  while (held(response)) {
    yield '. ';
    await sleep(200);
  }
  yield words;
}

const messages = {
  path: '/messages',
  conversation: (query) => {
    const last = partsOf((query.messages[query.messages.length - 1] || {}).content);
    // The agent's notes may follow the tool's result.
    const reported = last.filter((part) => part.type !== 'text' || part.text.replace(NOTE, '').trim());
    return {
      texts: said(query.messages),
      toolEnded: (reported[reported.length - 1] || {}).type === 'tool_result',
      tools: (query.tools || []).map((tool) => tool.name),
    };
  },
  async answer(n, query, { shell, command, words }, response) {
    const event = (type, fields) => response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`);
    const usage = { input_tokens: 100, output_tokens: 10, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 };
    const message = { id: `msg_${n}`, type: 'message', role: 'assistant', model: query.model, stop_sequence: null, usage };
    if (!query.stream) {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write(JSON.stringify({ ...message, content: [{ type: 'text', text: words || 'none' }], stop_reason: 'end_turn' }));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    event('message_start', { message: { ...message, content: [], stop_reason: null } });
    const block = shell ? { type: 'tool_use', id: `toolu_${n}`, name: shell, input: {} } : { type: 'text', text: '' };
    event('content_block_start', { index: 0, content_block: block });
    const delta = (fields) => event('content_block_delta', { index: 0, delta: fields });
    if (shell) {
      const input = { command, description: 'run it' };
      delta({ type: 'input_json_delta', partial_json: JSON.stringify(input) });
    } else {
      for await (const text of pieces(words, response)) delta({ type: 'text_delta', text });
    }
    event('content_block_stop', { index: 0 });
    event('message_delta', { delta: { stop_reason: shell ? 'tool_use' : 'end_turn', stop_sequence: null }, usage });
    event('message_stop', {});
  },
};

const responses = {
  path: '/responses',
  conversation: (query) => {
    const input = typeof query.input === 'string' ? [{ role: 'user', content: query.input }] : query.input || [];
    return {
      texts: said(input),
      toolEnded: /output$/.test((input[input.length - 1] || {}).type || ''),
      tools: (query.tools || []).map((tool) => tool.name || tool.type),
    };
  },
  async answer(n, query, { shell, command, words }, response) {
    let sequence = 0;
    const event = (type, fields) =>
      response.write(`event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequence++, ...fields })}\n\n`);
    const base = { id: `resp_${n}`, object: 'response', model: query.model, status: 'in_progress', output: [] };
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    event('response.created', { response: base });
    let item;
    if (shell) {
      const line = shell === 'exec_command' ? { cmd: command } : { command: shell === 'shell' ? ['sh', '-c', command] : command };
      item = { type: 'function_call', id: `fc_${n}`, call_id: `call_${n}`, name: shell, arguments: JSON.stringify(line), status: 'completed' };
      event('response.output_item.added', { output_index: 0, item });
    } else {
      const place = { item_id: `m_${n}`, output_index: 0, content_index: 0 };
      const part = (text) => ({ type: 'output_text', text, annotations: [] });
      item = { type: 'message', id: `m_${n}`, role: 'assistant', status: 'in_progress', content: [] };
      event('response.output_item.added', { output_index: 0, item });
      event('response.content_part.added', { ...place, part: part('') });
      let all = '';
      for await (const text of pieces(words, response)) {
        all += text;
        event('response.output_text.delta', { ...place, delta: text });
      }
      event('response.output_text.done', { ...place, text: all });
      event('response.content_part.done', { ...place, part: part(all) });
      item = { ...item, status: 'completed', content: [part(all)] };
    }
    event('response.output_item.done', { output_index: 0, item });
    const usage = { input_tokens: 100, output_tokens: 10, total_tokens: 110 };
    event('response.completed', { response: { ...base, status: 'completed', output: [item], usage } });
  },
};

const chat = {
  path: '/chat/completions',
  conversation: (query) => ({
    texts: said(query.messages),
    toolEnded: (query.messages[query.messages.length - 1] || {}).role === 'tool',
    tools: (query.tools || []).map((tool) => tool.function.name),
  }),
  async answer(n, query, { shell, command, words }, response) {
    const base = { id: `chat_${n}`, created: 1, model: query.model };
    const usage = { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 };
    const call = { id: `call_${n}`, type: 'function', function: { name: shell, arguments: JSON.stringify({ command, description: 'run it' }) } };
    const finish_reason = shell ? 'tool_calls' : 'stop';
    if (!query.stream) {
      const message = { role: 'assistant', content: words || null, ...(shell && { tool_calls: [call] }) };
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write(JSON.stringify({ ...base, object: 'chat.completion', choices: [{ index: 0, message, finish_reason }], usage }));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const chunk = (fields) =>
      response.write(`data: ${JSON.stringify({ ...base, object: 'chat.completion.chunk', ...fields })}\n\n`);
    const delta = (fields, end = null) => chunk({ choices: [{ index: 0, delta: fields, finish_reason: end }] });
    delta({ role: 'assistant', content: '' });
    if (shell) delta({ tool_calls: [{ index: 0, ...call }] });
    else for await (const text of pieces(words, response)) delta({ content: text });
    delta({}, finish_reason);
    chunk({ choices: [], usage });
    response.write('data: [DONE]\n\n');
  },
};

const gemini = {
  path: 'enerateContent',
  conversation: (query) => {
    const contents = query.contents || [];
    const last = (contents[contents.length - 1] || {}).parts || [];
    return {
      texts: said(contents.map(({ role, parts }) => ({ role, content: parts }))),
      toolEnded: last.some((part) => part.functionResponse),
      tools: (query.tools || []).flatMap((tool) => tool.functionDeclarations || []).map((tool) => tool.name),
    };
  },
  async answer(n, query, { shell, command, words }, response, url) {
    const part = shell ? { functionCall: { name: shell, args: { command, description: 'run it' } } } : { text: words };
    const usageMetadata = { promptTokenCount: 100, candidatesTokenCount: 10, totalTokenCount: 110 };
    const piece = (one, finishReason) => {
      const content = { role: 'model', parts: [one] };
      return JSON.stringify({ candidates: [{ index: 0, content, finishReason }], usageMetadata, modelVersion: 'none' });
    };
    if (!url.includes(':stream')) {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write(piece(part, 'STOP'));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const event = (one, finishReason) => response.write(`data: ${piece(one, finishReason)}\n\n`);
    if (shell) event(part, 'STOP');
    else {
      for await (const text of pieces(words, response)) event({ text });
      event({ text: ' ' }, 'STOP');
    }
  },
};

let requests = 0;
http
  .createServer(async (request, response) => {
    let body = '';
    request.setEncoding('utf8');
    for await (const chunk of request) body += chunk;
    const path = request.url.split('?')[0];
    const api = [messages, responses, chat, gemini].find((one) => request.method === 'POST' && path.endsWith(one.path));
    if (!api) {
      response.writeHead(path.endsWith('/count_tokens') ? 200 : 404, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ input_tokens: 100 }));
      return;
    }
    const query = JSON.parse(body);
    const n = ++requests;
    const { texts, toolEnded, tools } = api.conversation(query);
    log({ request: n, said: texts.map(idOf) });
    const answer = answerTo(texts, toolEnded, tools);
    while (answer.shell && held(response)) await sleep(20);
    await api.answer(n, query, answer, response, request.url);
    response.end();
    if (!response.destroyed) log({ answered: n });
  })
  .listen(MODEL_PORT, '127.0.0.1');
