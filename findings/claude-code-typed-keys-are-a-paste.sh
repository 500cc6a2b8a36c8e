#!/bin/bash
# Claude Code treats a long, fast run of typed keys as a paste, and the Enter after it as part of the text.
#
# Versions:  @anthropic-ai/claude-code 2.1.332 (npm); tmux 3.3a
# Input:     a text as typed keys (tmux send-keys -l) or as one bracketed paste, followed by the key Enter in the
#            same write to the terminal
# Behaviour: after 40 keys, Enter submits the text. After 3,000 keys, Enter adds a line break to the input box, and a
#            second Enter submits the text. After a bracketed paste, Enter submits the text of either length.
# Seen:      40 keys and Enter:            the text of 40 bytes
#            3000 keys and Enter:          nothing
#            and Enter again after 4 s:    the text of 3000 bytes
#            a paste of 20000 and Enter:   the text of 20000 bytes
# Exit:      0 if the behaviour is unchanged.
set -euo pipefail

if [ "${1-}" != inside ]; then
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    arch=x64
    [ "$(uname -m)" != aarch64 ] || arch=arm64
    npm install --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel=error \
        @anthropic-ai/claude-code@2.1.332 "node-linux-$arch@22.23.3" >/dev/null
    # The package's own install step: it replaces a stub by the program for this processor.
    (cd "$dir/node_modules/@anthropic-ai/claude-code" && "$dir/node_modules/.bin/node" install.cjs >/dev/null)
    # The rest has no network but loopback. All its processes end with it.
    unshare --map-root-user --net --pid --fork --kill-child --mount-proc "$BASH" "$0" inside "$dir"
    exit
fi

dir=$2
ip link set lo up
export HOME=$dir/home PATH=$dir/node_modules/.bin:$PATH TMUX_TMPDIR=$dir LANG=C.UTF-8
unset TMUX
mkdir -p "$HOME/work"
cat >"$HOME/.claude.json" <<JSON
{"hasCompletedOnboarding": true, "theme": "dark", "autoUpdates": false,
 "customApiKeyResponses": {"approved": ["123456789-0123456789"], "rejected": []},
 "projects": {"$HOME/work": {"hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true}}}
JSON

# A model server that answers "ok" and records the last message of the user.
cat >"$dir/model.js" <<'JS'
const fs = require('fs');
require('http').createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  const query = JSON.parse(body || '{}');
  const users = (query.messages || []).filter((message) => message.role === 'user');
  const last = users.length ? users[users.length - 1].content : '';
  const texts = typeof last === 'string' ? [last] : last.map((part) => part.text || '');
  if ((query.tools || []).length)
    for (const text of texts.filter((text) => text.startsWith('word ')))
      fs.appendFileSync(process.argv[2], `the text of ${text.trim().length} bytes\n`);
  const content = [{ type: 'text', text: 'ok' }];
  const usage = { input_tokens: 1, output_tokens: 1 };
  const message = { id: 'm', type: 'message', role: 'assistant', model: 'none', content, stop_reason: 'end_turn', usage };
  response.writeHead(200, { 'content-type': query.stream ? 'text/event-stream' : 'application/json' });
  if (!query.stream) return response.end(JSON.stringify(message));
  const event = (type, fields) => response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`);
  event('message_start', { message: { ...message, content: [], stop_reason: null } });
  event('content_block_start', { index: 0, content_block: { type: 'text', text: '' } });
  event('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'ok' } });
  event('content_block_stop', { index: 0 });
  event('message_delta', { delta: { stop_reason: 'end_turn' }, usage });
  event('message_stop', {});
  response.end();
}).listen(8099, '127.0.0.1');
JS
node "$dir/model.js" "$dir/heard" &

tmux -f /dev/null new-session -d -x 200 -y 50 -c "$HOME/work" -e DISABLE_AUTOUPDATER=1 \
    -e ANTHROPIC_BASE_URL=http://127.0.0.1:8099 -e ANTHROPIC_API_KEY=sk-ant-0123456789-0123456789-0123456789 \
    claude --permission-mode default
until tmux capture-pane -p | grep -q '^❯'; do sleep 0.2; done
sleep 3

text() { # BYTES
    printf 'word %.0s' $(seq $(($1 / 5))) | head -c $(($1 - 1))
    printf '.'
}
heard() { # the message that the model gets within 4 s
    sleep 4
    [ -s "$dir/heard" ] || echo nothing >"$dir/heard"
    head -n 1 "$dir/heard"
    : >"$dir/heard"
}
: >"$dir/heard"
text 20000 >"$dir/text"
tmux load-buffer -b text "$dir/text" \; paste-buffer -p -d -b text \; send-keys Enter
pasted=$(heard)
tmux send-keys -l "$(text 40)" \; send-keys Enter
few=$(heard)
tmux send-keys -l "$(text 3000)" \; send-keys Enter
many=$(heard)
tmux send-keys Enter
again=$(heard)
echo "40 keys and Enter:            $few"
echo "3000 keys and Enter:          $many"
echo "and Enter again after 4 s:    $again"
echo "a paste of 20000 and Enter:   $pasted"
[ "$few, $many, $again, $pasted" = \
    'the text of 40 bytes, nothing, the text of 3000 bytes, the text of 20000 bytes' ]
