#!/bin/bash
# Two Claude Code processes can have one conversation open, and the conversation then loses texts.
#
# Versions:  @anthropic-ai/claude-code 2.1.332 (npm); tmux 3.3a
# Input:     `--resume` with the id of a conversation that another Claude Code has open; one text in each process; after
#            both have ended, the second one last, `--resume` with the id again and one more text
# Behaviour: Claude Code opens the conversation without a question, although ~/.claude/sessions/PID.json of the first
#            process names the conversation. Both processes write into one file, and neither notices the other's
#            texts. The file then has all texts, but a later `--resume` goes on only with the texts of the process that
#            ended last, even if the other process wrote the last text. No message says that texts are missing.
# Expected:  Claude Code refuses to open the conversation, or asks, as Codex 0.171.0 does: "This conversation is open in
#            another app".
# Seen:      sessions/PID.json with its id:           2
#            text 2, in the second process, follows:  text 1
#            text 3, in the first process, follows:   text 1
#            the file of the conversation has:        text 1, text 2, text 3
#            text 4, after both ended, follows:       text 1, text 2
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

# A model server that answers "ok" and records the user's texts that it gets.
cat >"$dir/model.js" <<'JS'
const fs = require('fs');
const [, , heard] = process.argv;
require('http').createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  const query = JSON.parse(body || '{}');
  const users = (query.messages || []).filter((message) => message.role === 'user');
  const texts = [...new Set(JSON.stringify(users).match(/text [1-9]/g))];
  if ((query.tools || []).length && texts.length) {
    fs.writeFileSync(`${heard}.new`, `${texts.join(', ')}\n`);
    fs.renameSync(`${heard}.new`, heard);
  }
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

start() { # SERVER [OPTION…]: starts Claude Code in a tmux server of its own and waits until it reads keys
    local server=$1
    shift
    tmux -L "$server" -f /dev/null new-session -d -x 200 -y 50 -c "$HOME/work" -e DISABLE_AUTOUPDATER=1 \
        -e ANTHROPIC_BASE_URL=http://127.0.0.1:8099 -e ANTHROPIC_API_KEY=sk-ant-0123456789-0123456789-0123456789 \
        claude --permission-mode default "$@"
    for _ in $(seq 300); do
        ! tmux -L "$server" capture-pane -p | grep -q '^❯' || break
        sleep 0.2
    done
    sleep 3
}
submit() { # SERVER TEXT: waits until the model has the text
    rm -f "$dir/heard"
    tmux -L "$1" send-keys -l "$2" \; send-keys Enter
    for _ in $(seq 300); do
        [ ! -e "$dir/heard" ] || break
        sleep 0.2
    done
    sleep 3
}

follows() { # the texts that the model got before the last one
    sed 's/, [^,]*$//' "$dir/heard"
}
id=$(cat /proc/sys/kernel/random/uuid)
start one --session-id "$id"
submit one 'text 1'
start two --resume "$id"
sessions=$(grep -l "$id" "$HOME"/.claude/sessions/*.json | wc -l)
submit two 'text 2'
second=$(follows)
submit one 'text 3'
first=$(follows)
for server in one two; do
    process=$(tmux -L "$server" display-message -p '#{pane_pid}')
    kill -TERM "$process"
    while kill -0 "$process" 2>/dev/null; do sleep 0.1; done
done
file=$(grep -ho '"content":"text [1-9]"' "$HOME"/.claude/projects/*/"$id.jsonl" | cut -d '"' -f 4 | sort | paste -sd,)
start three --resume "$id"
submit three 'text 4'
"${0%/*}/compare" "$0" <<SEEN
sessions/PID.json with its id:           $sessions
text 2, in the second process, follows:  $second
text 3, in the first process, follows:   $first
the file of the conversation has:        ${file//,/, }
text 4, after both ended, follows:       $(follows)
SEEN
