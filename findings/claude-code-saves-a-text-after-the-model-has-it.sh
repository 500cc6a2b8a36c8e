#!/bin/bash
# Claude Code sends a text to the model before it saves the text: a conversation resumed after a crash lacks it.
#
# Versions:  @anthropic-ai/claude-code 2.1.332 (npm); tmux 3.3a
# Input:     texts that the user submits one after the other; SIGKILL to Claude Code when the model has the last one;
#            `--resume` with the conversation's id, and one more text
# Behaviour: when the model gets a text, the conversation's file often does not have the text yet. In 6 of 8 cases
#            on a busy machine with two processors, Claude Code wrote the text 30 to 230 ms later. After a SIGKILL in
#            between, the conversation goes on without the text, and no message says so. A program that resumes
#            conversations cannot assume that a text which the model got is part of the conversation.
# Expected:  Claude Code saves the text before it sends the text.
# Seen:      the model gets:                  the first text, the second text
#            the file has at that moment:     the first text
#            after --resume the model gets:   the first text, the third text
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

# A model server that answers "ok". It records the user's texts that it gets and those that the conversation's file
# has at that moment. If the file lacks the second text, it kills Claude Code instead of answering.
cat >"$dir/model.js" <<'JS'
const fs = require('fs');
const [, , home, heard] = process.argv;
const words = (text) => [...new Set(text.match(/the (first|second|third) text/g))].join(', ');
const files = (folder, end) => fs.readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(end));
const saved = () => files(`${home}/.claude/projects`, '.jsonl')
  .map((name) => fs.readFileSync(`${home}/.claude/projects/${name}`, 'utf8')).join('');
require('http').createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  const query = JSON.parse(body || '{}');
  const users = (query.messages || []).filter((message) => message.role === 'user');
  const got = words(JSON.stringify(users));
  if ((query.tools || []).length && got) {
    const has = fs.existsSync(`${home}/.claude/projects`) ? words(saved()) : '';
    fs.writeFileSync(`${heard}.new`, `${got}\n${has}\n`);
    fs.renameSync(`${heard}.new`, heard);
    if (got.endsWith('second text') && !has.endsWith('second text'))
      return process.kill(parseInt(files(`${home}/.claude/sessions`, '.json')[0]), 'SIGKILL');
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
node "$dir/model.js" "$HOME" "$dir/heard" &

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

# The file is not always late, and Claude Code sometimes saves the text just before the signal arrives.
for round in $(seq 10); do
    id=$(cat /proc/sys/kernel/random/uuid)
    start "$round" --session-id "$id"
    submit "$round" 'the first text'
    submit "$round" 'the second text'
    if ! tmux -L "$round" has-session 2>/dev/null; then
        grep -rq 'the second text' "$HOME/.claude/projects" || break
    fi
    tmux -L "$round" kill-server 2>/dev/null || true
    [ "$round" != 10 ] || exit 1
    rm -rf "$HOME/.claude/projects" "$HOME/.claude/sessions"
done
{ read -r got; read -r has; } <"$dir/heard"
start resumed --resume "$id"
submit resumed 'the third text'
"${0%/*}/compare" "$0" <<SEEN
the model gets:                  $got
the file has at that moment:     $has
after --resume the model gets:   $(head -n 1 "$dir/heard")
SEEN
