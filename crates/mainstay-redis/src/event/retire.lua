-- ARGV: queue. Returns how many events were neither done nor dead.
local queue = ARGV[1]
local left = tonumber(redis.call('HGET', STEM .. 'n', queue) or 0)
remove(queue)
ring()
return left
