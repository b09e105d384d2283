"""The scripts of the Redis store for what turns have spent; see `lua.py`.

A hash for each owner's day, whose fields are projects' names and models, with a NUL between.
Numbers are text, with a blank between: turns, tokens of four kinds, and USD.
"""

from __future__ import annotations

from cowork.stores.redis.lua import PRELUDE

_NUMBERS = """
local function numbers_of(text)
  local found = {0, 0, 0, 0, 0, 0}
  if text then
    local i = 0
    for each in string.gmatch(text, '%S+') do
      i = i + 1
      found[i] = tonumber(each)
    end
  end
  return found
end
local function add_numbers(to, more)
  for i = 1, 6 do to[i] = to[i] + more[i] end
  return to
end
local function numbers_text(n)
  return string.format('%.0f %.0f %.0f %.0f %.0f %.17g', n[1], n[2], n[3], n[4], n[5], n[6])
end
"""

# `from` and `to` are the places of fields and their numbers among the arguments; the rest is
# the owner, the day, and milliseconds to keep it.
COUNT_USAGE = f"""{_NUMBERS}
local function count_usage(owner, day, ms, from, to)
  if from > to then return end
  local key, owners = p .. 'usage:' .. day .. ':' .. owner, p .. 'usage_owners:' .. day
  for i = from, to, 2 do
    local had = numbers_of(redis.call('HGET', key, ARGV[i]))
    redis.call('HSET', key, ARGV[i], numbers_text(add_numbers(had, numbers_of(ARGV[i + 1]))))
  end
  redis.call('SADD', owners, owner)
  redis.call('PEXPIRE', key, ms)
  redis.call('PEXPIRE', owners, ms)
end
"""

# what it is summed by, whether of all owners, the owner; then the days.  Of each sum its key and
# its numbers
USAGE = f"""{PRELUDE}{_NUMBERS}
local by, sums, found = ARGV[1], {{}}, {{}}
local function key_of(day, owner, field)
  if by == 'day' then return day end
  if by == 'key' then return owner end
  local at = string.find(field, '\\0', 1, true)
  if by == 'model' then return string.sub(field, at + 1) end
  return owner .. '\\0' .. string.sub(field, 1, at - 1)
end
for i = 4, #ARGV do
  local day, owners = ARGV[i], {{ARGV[3]}}
  if ARGV[2] == '1' then owners = redis.call('SMEMBERS', p .. 'usage_owners:' .. day) end
  for _, owner in ipairs(owners) do
    local rows = redis.call('HGETALL', p .. 'usage:' .. day .. ':' .. owner)
    for j = 1, #rows, 2 do
      local key, numbers = key_of(day, owner, rows[j]), numbers_of(rows[j + 1])
      sums[key] = sums[key] and add_numbers(sums[key], numbers) or numbers
    end
  end
end
for key, numbers in pairs(sums) do
  found[#found + 1] = key
  found[#found + 1] = numbers_text(numbers)
end
return found
"""
