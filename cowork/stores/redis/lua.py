"""What the scripts of the Redis store have in common, as Lua.

A script happens whole or not at all.  `KEYS[1]` is the prefix of every key.  A project is owner
and name, with a NUL between.  Moments are milliseconds of Redis's own clock, so that the clocks of
several machines need not agree.
"""

from __future__ import annotations

PRELUDE = """
local p = KEYS[1]
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function whole(n) return string.format('%.0f', n) end
-- Greater than any before, also after Redis was restarted empty: it is no less than the time.
local function next_number()
  local t = redis.call('TIME')
  local n = t[1] * 1000000 + t[2]
  local last = tonumber(redis.call('GET', p .. 'number') or '0')
  if n <= last then n = last + 1 end
  redis.call('SET', p .. 'number', whole(n))
  return whole(n)
end
-- given, newest, until, holder
local function claim_of(project)
  local held = redis.call('HGET', p .. 'claims', project)
  if not held then return nil end
  return string.match(held, '^(%d+) (%d+) (%d+) (.*)$')
end
local function put_claim(project, given, newest, till, holder)
  local held = given .. ' ' .. newest .. ' ' .. till .. ' ' .. holder
  redis.call('HSET', p .. 'claims', project, held)
end
local function is_newest(project, number)
  local _, newest = claim_of(project)
  return newest == number
end
-- By whether no client can name it; those that have a session, by when it was last put.
local function is_unnamed(project) return string.find(project, '\\0\\1', 1, true) ~= nil end
local function put_session(project, body)
  if is_unnamed(project) then redis.call('ZADD', p .. 'unnamed', whole(now()), project) end
  redis.call('HSET', p .. 'sessions', project, body)
  if not redis.call('ZSCORE', p .. 'session_order', project) then
    redis.call('ZADD', p .. 'session_order', redis.call('INCR', p .. 'place'), project)
  end
end
local function owner_of(project)
  return string.sub(project, 1, string.find(project, '\\0', 1, true) - 1)
end
-- Of each owner, how many messages wait (n) and their bytes (b).  Counted anew when the key has
-- expired: a server of an earlier version does not keep it.
local function outbox_held()
  local key, held = p .. 'outbox_held', {}
  local function add(owner, count, size)
    local had = held[owner] or {0, 0}
    held[owner] = {had[1] + count, had[2] + size}
  end
  local known = redis.call('HGETALL', key)
  for i = 1, #known, 2 do
    local kind, owner, number = known[i]:sub(1, 1), known[i]:sub(2), tonumber(known[i + 1])
    if kind == 'n' then add(owner, number, 0) elseif kind == 'b' then add(owner, 0, number) end
  end
  if known[1] then return held end
  local total = 0
  for _, project in ipairs(redis.call('ZRANGE', p .. 'projects', 0, -1)) do
    for _, id in ipairs(redis.call('ZRANGE', p .. 'waiting:' .. project, 0, -1)) do
      add(owner_of(project), 1, redis.call('HSTRLEN', p .. 'messages', id))
      total = total + 1
    end
  end
  redis.call('HSET', key, 'since', whole(now()))
  for owner, had in pairs(held) do
    redis.call('HSET', key, 'n' .. owner, whole(had[1]), 'b' .. owner, whole(had[2]))
  end
  redis.call('PEXPIRE', key, math.max(60000, total * 10))
  return held
end
local function count_message(project, count, size)
  local key, owner = p .. 'outbox_held', owner_of(project)
  if redis.call('EXISTS', key) == 1 then
    redis.call('HINCRBY', key, 'n' .. owner, count)
    redis.call('HINCRBY', key, 'b' .. owner, whole(size))
  end
end
-- See `OutboxBounds.are_reached`; the bounds, then an owner's share of each.
local function is_full(owner, most, most_bytes, share, share_bytes)
  most, most_bytes = tonumber(most), tonumber(most_bytes)
  share, share_bytes = tonumber(share), tonumber(share_bytes)
  local count, size = 0, 0
  for each, had in pairs(outbox_held()) do
    if each == owner and (had[1] >= share or had[2] >= share_bytes) then return true end
    count, size = count + math.min(had[1], share), size + math.min(had[2], share_bytes)
  end
  return count >= most or size >= most_bytes
end
local function put_message(id, project, body, place)
  if redis.call('HEXISTS', p .. 'messages', id) == 1 then return end
  place = place or redis.call('INCR', p .. 'place')
  redis.call('HSET', p .. 'messages', id, body)
  count_message(project, 1, #body)
  redis.call('ZADD', p .. 'outbox', place, id)
  redis.call('ZADD', p .. 'waiting:' .. project, place, id)
  local first = redis.call('ZRANGE', p .. 'waiting:' .. project, 0, 0, 'WITHSCORES')
  redis.call('ZADD', p .. 'projects', first[2], project)
end
local function take_message(id, project)
  local body = redis.call('HGET', p .. 'messages', id)
  if not body then return nil end
  local place = redis.call('ZSCORE', p .. 'outbox', id)
  redis.call('HDEL', p .. 'messages', id)
  count_message(project, -1, -#body)
  redis.call('SREM', p .. 'tried', id)
  redis.call('ZREM', p .. 'outbox', id)
  redis.call('ZREM', p .. 'waiting:' .. project, id)
  local first = redis.call('ZRANGE', p .. 'waiting:' .. project, 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', p .. 'projects', first[2], project)
  else
    redis.call('ZREM', p .. 'projects', project)
  end
  return body, place
end
local function keep_for(turn, key, ms)
  redis.call('PEXPIRE', turn, ms)
  if key then redis.call('PEXPIRE', p .. 'key:' .. key, ms) end
end
-- All of a project's turns, by when they were created (microseconds).
local function list_turn(project, id, created)
  redis.call('ZADD', p .. 'turns_at:' .. project, created, id)
  redis.call('PEXPIRE', p .. 'turns_at:' .. project, 604800000)
end
-- A project's turns that have ended, by when they expire; it expires with the last of them.
local function index_turn(project, id, ms)
  local index = p .. 'turns_of:' .. project
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', whole(now()))) do
    redis.call('ZREM', p .. 'turns_at:' .. project, old)
  end
  redis.call('ZREMRANGEBYSCORE', index, '-inf', whole(now()))
  redis.call('ZADD', index, whole(now() + ms), id)
  local last = redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')
  redis.call('PEXPIRE', index, whole(math.max(tonumber(last[2]) - now(), 0) + 1000))
end
-- The log of a turn that runs, as other workers read it: its last entry says that it is over.
local function end_events(id, ms)
  local events = p .. 'events:' .. id
  if redis.call('EXISTS', events) == 1 then
    redis.call('XADD', events, '*', 'e', '1')
    redis.call('PEXPIRE', events, ms)
  end
end
local function forget_transcript(session)
  redis.call('DEL', p .. 'transcript:' .. session)
  redis.call('HDEL', p .. 'transcripts', session)
end
-- Nodes of conversations, by their owner and key with a NUL between: each one's values, keys by
-- last use and by turn, and those of a project.
local function delete_node(owner, key)
  local id = owner .. '\\0' .. key
  local project, turn = unpack(redis.call('HMGET', p .. 'node:' .. id, 'project', 'turn'))
  redis.call('ZREM', p .. 'nodes:' .. owner, key)
  redis.call('ZADD', p .. 'node_owners', redis.call('ZCARD', p .. 'nodes:' .. owner), owner)
  redis.call('ZREMRANGEBYSCORE', p .. 'node_owners', '-inf', 0)
  if not project then return nil end
  redis.call('DEL', p .. 'node:' .. id)
  if redis.call('HGET', p .. 'node_turns', owner .. '\\0' .. turn) == key then
    redis.call('HDEL', p .. 'node_turns', owner .. '\\0' .. turn)
  end
  redis.call('SREM', p .. 'nodes_of:' .. project, key)
  return project
end
local function has_nodes(project) return redis.call('EXISTS', p .. 'nodes_of:' .. project) == 1 end
local function delete_nodes_of(project)
  for _, key in ipairs(redis.call('SMEMBERS', p .. 'nodes_of:' .. project)) do
    delete_node(owner_of(project), key)
  end
  redis.call('ZREM', p .. 'unnamed', project)
end
local function forget_turns(project)
  local index = p .. 'turns_of:' .. project
  for _, id in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    local key = redis.call('HGET', p .. 'turn:' .. id, 'key')
    if key and redis.call('HGET', p .. 'key:' .. key, 'turn') == id then
      redis.call('DEL', p .. 'key:' .. key)
    end
    redis.call('DEL', p .. 'turn:' .. id, p .. 'events:' .. id)
    redis.call('ZREM', p .. 'turns_at:' .. project, id)
  end
  redis.call('DEL', index)
end
"""
