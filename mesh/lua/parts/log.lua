-- The number of the last event in a job's log; 0 when it has none.
local function last_event(id)
  local last = redis.call('XREVRANGE', P .. 'events:' .. id, '+', '-', 'COUNT', 1)[1]
  return last and tonumber(last[1]:match('^%d+')) or 0
end
