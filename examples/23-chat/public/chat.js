'use strict';
// A client of ws_chat. The messages are described at WebSocketChat in package apps.
const at = id => document.getElementById(id);
const users = new Map(); // names of those in the room, by id
let socket, me = '', room = new URLSearchParams(location.search).get('room') || '', wait = 500, crowd = 0;
let name = new URLSearchParams(location.search).get('name') || '';

function send(message) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function state(text, on) {
  at('state').textContent = text;
  at('state').className = on ? 'on' : 'off';
}

function line(...parts) {
  const log = at('log'), item = document.createElement('li');
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  item.append(...parts);
  log.append(item);
  while (log.childElementCount > 500) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
  return item;
}

function note(text) {
  const item = line(text);
  item.className = 'note';
  return item;
}

function show(m) {
  const who = document.createElement('span'), from = document.createElement('b');
  at('empty')?.remove();
  who.className = 'who';
  from.textContent = m.username;
  who.append(from, ' ', new Date(m.timestamp * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
  line(who, m.message).className = m.user_id === me ? 'own' : '';
}

function people() {
  at('count').textContent = crowd || users.size;
  at('users').replaceChildren(...[...users].slice(0, 100).map(([id, name]) => {
    const item = document.createElement('li');
    item.textContent = name;
    item.className = id === me ? 'me' : '';
    return item;
  }));
}

function enter(to) {
  room = at('room').value = to;
  crowd = 0;
  document.title = to + ' – Chat';
  send({ type: 'history', room });
  send({ type: 'list', room });
}

const handlers = {
  welcome(m) {
    me = m.user_id;
    at('name').value = m.username;
    if (name) send({ type: 'nick', username: name });
    if (room && room !== m.room) {
      send({ type: 'join', room });
      if (m.room) send({ type: 'leave', room: m.room });
    } else {
      enter(m.room);
    }
  },
  joined(m) { enter(m.room); },
  history(m) {
    at('log').replaceChildren();
    m.messages.forEach(show);
    if (!m.messages.length) note('No one has said anything here yet.').id = 'empty';
  },
  message(m) { if (m.room === room) show(m); },
  users(m) {
    if (m.room !== room) return;
    users.clear();
    crowd = m.count;
    m.users.forEach(u => users.set(u.user_id, u.username));
    people();
  },
  user_joined(m) { if (m.room === room) { users.set(m.user_id, m.username); crowd = 0; note(m.username + ' has come'); people(); } },
  user_left(m) { if (m.room === room) { users.delete(m.user_id); crowd = 0; note(m.username + ' has left'); people(); } },
  user_nick(m) {
    if (m.room !== room) return;
    note((users.get(m.user_id) || 'Someone') + ' is now called ' + m.username);
    users.set(m.user_id, m.username);
    people();
  },
  user_count(m) { // instead of the three above where there are many
    if (m.room !== room) return;
    crowd = m.count;
    people();
    if (crowd <= 100) send({ type: 'list', room });
  },
  nick(m) {
    name = at('name').value = m.username;
    users.set(me, name);
    people();
  },
  error(m) { note(m.message); },
};

function connect() {
  socket = new WebSocket(new URL('chat', location.href).href.replace(/^http/, 'ws'));
  socket.onopen = () => { wait = 500; state('connected', true); };
  socket.onmessage = e => { const m = JSON.parse(e.data); handlers[m.type]?.(m); };
  socket.onclose = () => {
    state('connecting again …', false);
    setTimeout(connect, wait);
    wait = Math.min(2 * wait, 10000);
  };
}

at('say').onsubmit = e => {
  e.preventDefault();
  const message = at('text').value;
  if (!message.trim() || socket.readyState !== WebSocket.OPEN) return;
  send({ type: 'message', room, message });
  show({ user_id: me, username: at('name').value, message, timestamp: Date.now() / 1000 }); // it does not come back
  at('log').scrollTop = at('log').scrollHeight;
  at('text').value = '';
};
at('names').onsubmit = e => { e.preventDefault(); send({ type: 'nick', username: at('name').value }); at('text').focus(); };
at('rooms').onsubmit = e => {
  e.preventDefault();
  const to = at('room').value.trim();
  if (!to || to === room) return;
  const from = room;
  send({ type: 'join', room: to });
  send({ type: 'leave', room: from });
  at('text').focus();
};
// The last message stays in sight when the keyboard of a phone comes up.
new ResizeObserver(() => { at('log').scrollTop = at('log').scrollHeight; }).observe(at('log'));
connect();
