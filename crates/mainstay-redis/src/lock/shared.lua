-- What all verbs begin with. The holders of a key are one string: a line for each, in the order of their fences,
--   attempt fence permits ttl till since owner
-- with times in microseconds of this server's calendar, which is read once.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function whole(number)
  return string.format('%.0f', number)
end

-- Those whose time is not over. No time left is longer than what was granted: if one is, the calendar was set back,
-- and what is returned second says that the holders have to be written again.
local function read(written)
  local holders, stepped = {}, false
  for attempt, fence, permits, ttl, till, since, owner in
    string.gmatch(written or '', '(%x+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S*)\n')
  do
    ttl, till = tonumber(ttl), tonumber(till)
    if till > now + ttl then
      till, stepped = now + ttl, true
    end
    if till > now then
      holders[#holders + 1] = {
        attempt = attempt, fence = fence, permits = permits, ttl = ttl, till = till, since = since, owner = owner,
      }
    end
  end
  return holders, stepped
end

-- The key lives as long as the last of them.
local function write(key, holders)
  local lines, till = {}, 0
  for at, holder in ipairs(holders) do
    lines[at] = string.format('%s %s %s %.0f %.0f %s %s\n', holder.attempt, holder.fence, holder.permits,
      holder.ttl, holder.till, holder.since, holder.owner)
    till = math.max(till, holder.till)
  end
  if till == 0 then
    redis.call('DEL', key)
  else
    redis.call('SET', key, table.concat(lines), 'PX', whole(math.ceil((till - now) / 1000) + 1))
  end
end
