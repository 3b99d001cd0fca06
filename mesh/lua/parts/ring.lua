-- Queue a message for a waiting job under the lane's next number: a lane's messages lie in the order of their numbers. The caller
-- writes the field `rung` with what else it writes.
-- The message is Celery's, protocol 2, for the task workers.tasks.run(id, number). Its body is plain JSON, no base64, so that both can
-- be read back from its beginning. One literal: joining pieces would cost every call.
local function ring(id, lane)
  local number = redis.call('INCR', P .. 'ring:' .. lane)
  redis.call('ZADD', P .. 'waiting:' .. lane, number, id)
  redis.call('LPUSH', P .. lane, ('{"body":"[[\\"%s\\",%d],{},{\\"callbacks\\":null,\\"errbacks\\":null,\\"chain\\":null,\\"chord\\":null}]","content-encoding":"utf-8","content-type":"application/json","headers":{"lang":"py","task":"workers.tasks.run","id":"%s","root_id":"%s","parent_id":null,"group":null,"argsrepr":"","kwargsrepr":"","retries":0,"timelimit":[null,null],"eta":null,"expires":null,"origin":"door","ignore_result":true},"properties":{"correlation_id":"%s","delivery_mode":2,"delivery_info":{"exchange":"","routing_key":"%s"},"priority":0,"body_encoding":null,"delivery_tag":"%s.%d"}}'):format(id, number, id, id, id, lane, id, number))
  return number
end
