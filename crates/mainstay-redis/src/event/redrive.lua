-- ARGV: queue, event. Returns 1, or 0 if there is no such dead letter.
local queue, event = ARGV[1], ARGV[2]
local letter = redis.call('HGET', of(queue, 'xi'), event)
local found = letter and redis.call('XRANGE', of(queue, 'x'), letter, letter)[1]
if not found then
  return 0
end
local words = {'XADD', STREAM, '*', 'type', found[2][2], 'id', event, 'event', field(found[2], 'event'), 'q', queue}
local subject = field(found[2], 'subject')
if subject ~= '' then
  words[#words + 1] = 'subject'
  words[#words + 1] = subject
end
redis.call('SADD', of(queue, 'c'), redis.call(unpack(words)))
redis.call('XDEL', of(queue, 'x'), letter)
redis.call('HDEL', of(queue, 'xi'), event)
redis.call('HINCRBY', STEM .. 'n', queue, 1)
ring()
return 1
