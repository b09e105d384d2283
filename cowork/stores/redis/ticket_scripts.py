"""The scripts of the Redis store for tickets; see `lua.py`.

A turn's tickets are one hash, by digest: until when each may first be used (0: it was used),
the name of its key and the key's fingerprint, with a blank between.
"""

from __future__ import annotations

from cowork.stores.redis.lua import PRELUDE

# turn, digest, milliseconds until it must be used, how many there may be, milliseconds to keep,
# name and fingerprint of the key
PUT_TICKET = f"""{PRELUDE}
local tickets = p .. 'tickets:' .. ARGV[1]
local found = redis.call('HGETALL', tickets)
local count = 0
for i = 1, #found, 2 do
  local till = tonumber(string.match(found[i + 1], '^%d+'))
  if till > 0 and till < now() then
    redis.call('HDEL', tickets, found[i])
  else
    count = count + 1
  end
end
if count >= tonumber(ARGV[4]) then return 0 end
redis.call('HSET', tickets, ARGV[2], whole(now() + ARGV[3]) .. ' ' .. ARGV[6] .. ' ' .. ARGV[7])
redis.call('PEXPIRE', tickets, ARGV[5])
return 1
"""

# turn, digest, milliseconds to keep
USE_TICKET = f"""{PRELUDE}
local tickets = p .. 'tickets:' .. ARGV[1]
local found = redis.call('HGET', tickets, ARGV[2])
if not found then return false end
local till, name, fingerprint = string.match(found, '^(%d+) (%S*) (%S*)$')
if tonumber(till) > 0 and tonumber(till) < now() then
  redis.call('HDEL', tickets, ARGV[2])
  return false
end
redis.call('HSET', tickets, ARGV[2], '0 ' .. name .. ' ' .. fingerprint)
redis.call('PEXPIRE', tickets, ARGV[3])
return {{name, fingerprint}}
"""
