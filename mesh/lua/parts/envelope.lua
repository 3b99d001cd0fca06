-- A Celery message, protocol 2, for a task. Its body is plain JSON, no base64, so that its arguments can be read back from its
-- beginning. arguments: as JSON in JSON, so with \\" for ". tag: the delivery tag, no other message's. One literal: joining pieces
-- would cost every call.
local function envelope(task, arguments, id, queue, tag)
  return ('{"body":"[[%s],{},{\\"callbacks\\":null,\\"errbacks\\":null,\\"chain\\":null,\\"chord\\":null}]","content-encoding":"utf-8","content-type":"application/json","headers":{"lang":"py","task":"%s","id":"%s","root_id":"%s","parent_id":null,"group":null,"argsrepr":"","kwargsrepr":"","retries":0,"timelimit":[null,null],"eta":null,"expires":null,"origin":"door","ignore_result":true},"properties":{"correlation_id":"%s","delivery_mode":2,"delivery_info":{"exchange":"","routing_key":"%s"},"priority":0,"body_encoding":null,"delivery_tag":"%s"}}'):format(arguments, task, id, id, id, queue, tag)
end
