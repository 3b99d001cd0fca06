-- The job id and ring number of a Celery message, also of one that kombu has put back in its own spelling.
local function read_message(message)
  local id, number = message:match('^{"body":"%[%[\\"([%w-]+)\\",(%d+)%]')
  if id then return id, tonumber(number) end
  local ok, decoded = pcall(cjson.decode, message)
  if not ok or type(decoded) ~= 'table' or type(decoded.body) ~= 'string' then return nil end
  id, number = decoded.body:match('^%s*%[%s*%[%s*"([%w-]+)"%s*,%s*(%d+)')
  return id, tonumber(number)
end
