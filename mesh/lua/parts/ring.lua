-- Queue a message for a waiting job under the lane's next number: a lane's messages lie in the order of their numbers. The caller
-- writes the field `rung` with what else it writes.
-- The message is for the task workers.tasks.run(id, number).
local function ring(id, lane)
  local number = redis.call('INCR', P .. 'ring:' .. lane)
  redis.call('ZADD', P .. 'waiting:' .. lane, number, id)
  local arguments = '\\"' .. id .. '\\",' .. number
  redis.call('LPUSH', P .. lane, envelope('workers.tasks.run', arguments, id, lane, id .. '.' .. number))
  return number
end
