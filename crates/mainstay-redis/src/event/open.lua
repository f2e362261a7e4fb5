-- ARGV: queue, pattern, ordered, own, from (an id to begin behind, or $). Returns 1, or 0 if its order is another.
local queue, pattern, ordered, from = ARGV[1], ARGV[2], ARGV[3], ARGV[5]
if redis.call('HEXISTS', STEM .. 'q', queue) == 1 then
  return redis.call('HGET', of(queue, 'm'), 'ordered') == ordered and 1 or 0
end
local last = last_id()
if from == '$' or is_after(from, last) then
  from = last
end
redis.pcall('XGROUP', 'DESTROY', STREAM, queue)
redis.call('XGROUP', 'CREATE', STREAM, queue, from, 'MKSTREAM')
local life = redis.call('INCR', STEM .. 'l') % 65536
redis.call('HSET', of(queue, 'm'), 'ordered', ordered, 'own', ARGV[4], 'life', life, 'cursor', from, 'fetched', whole(NOW))
redis.call('HSET', STEM .. 'n', queue, count(queue, pattern, from, last))
redis.call('HSET', STEM .. 'q', queue, pattern)
return 1
