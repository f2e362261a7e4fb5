-- ARGV: queue. Returns how many events were neither done nor dead.
local queue = ARGV[1]
local left = tonumber(redis.call('HGET', STEM .. 'n', queue) or 0)
redis.pcall('XGROUP', 'DESTROY', STREAM, queue)
redis.call('HDEL', STEM .. 'q', queue)
redis.call('HDEL', STEM .. 'n', queue)
for _, what in ipairs({'m', 'p', 'd', 'h', 'x', 'xi', 'o', 'os', 'w', 'r'}) do
  redis.call('UNLINK', of(queue, what))
end
ring()
return left
