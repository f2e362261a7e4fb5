-- ARGV: queue, id, receipt, visibility in ms. Returns 1, or 0 if it stands no more.
local queue, id = ARGV[1], ARGV[2]
if redis.call('HEXISTS', STEM .. 'q', queue) == 0 then
  return redis.error_reply('NOQUEUE it is not open')
end
if redis.call('HGET', of(queue, 'h'), id) ~= ARGV[3] then
  return 0
end
redis.call('ZADD', of(queue, 'p'), whole(NOW + tonumber(ARGV[4])), id)
return 1
