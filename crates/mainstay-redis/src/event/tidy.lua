-- ARGV: retention in ms, most events that stay although every queue has finished them, pause in ms, from how many events
-- on a queue is in the way, most entries to remove. One process tidies at a time. Returns how many entries were removed;
-- if that is the most, there may be more, and whoever comes next need not wait.
if not redis.call('SET', STEM .. 'j', '', 'NX', 'PX', ARGV[3]) then
  return 0
end
-- An instance's own queue that nobody has fetched from for a day, or for five minutes if it will soon hold publishers up,
-- and consumers that hold nothing and ask no more.
local deserted, in_the_way, silent = 24 * 3600 * 1000, 300 * 1000, 3600 * 1000
local floor = after(last_id())
for _, queue in ipairs(redis.call('HKEYS', STEM .. 'q')) do
  local meta = redis.call('HMGET', of(queue, 'm'), 'own', 'fetched', 'cursor')
  local alone = NOW - tonumber(meta[2])
  local left = tonumber(redis.call('HGET', STEM .. 'n', queue) or 0)
  if meta[1] == '1' and (alone > deserted or (alone > in_the_way and left > tonumber(ARGV[4]))) then
    remove(queue)
  else
    local summary = redis.pcall('XPENDING', STREAM, queue)
    if summary.err then
      mend(queue)
      summary = redis.call('XPENDING', STREAM, queue)
    end
    -- A queue that was set back has what it holds behind what it has yet to read.
    for _, first in ipairs({after(meta[3]), summary[2] or nil}) do
      if is_after(floor, first) then
        floor = first
      end
    end
    for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', STREAM, queue)) do
      local about = {}
      for at = 1, #consumer, 2 do
        about[consumer[at]] = consumer[at + 1]
      end
      if about.pending == 0 and about.idle > silent then
        redis.call('XGROUP', 'DELCONSUMER', STREAM, queue, about.name)
      end
    end
  end
end
local length, removed, most = redis.call('XLEN', STREAM), 0, tonumber(ARGV[5])
local oldest = whole(math.max(0, NOW - tonumber(ARGV[1]))) .. '-0'
for _, entry in ipairs(redis.call('XRANGE', STREAM, '-', '+', 'COUNT', most)) do
  local id = entry[1]
  if not is_after(floor, id) or (is_after(id, oldest) and length - removed <= tonumber(ARGV[2])) then
    break
  end
  redis.call('XDEL', STREAM, id)
  redis.call('SET', STEM .. 't', id)
  removed = removed + 1
end
if removed == most then
  redis.call('DEL', STEM .. 'j')
end
return removed
