-- What the scripts decide by; nil when there is no such job.
local function read_job(id)
  local v = redis.call('HMGET', P .. 'job:' .. id, 'state', 'fence', 'lane', 'tenant', 'key', 'provider', 'model', 'attempt', 'seq',
    'doors', 'retention', 'holds', 'attempts', 'timeline', 'created', 'stop', 'said', 'rerun', 'reserved', 'private', 'large', 'owner',
    'deadline')
  if not v[1] then return nil end
  return {
    state = v[1], fence = v[2], lane = v[3], tenant = v[4], key = v[5], provider = v[6], model = v[7], attempt = v[8], seq = v[9],
    doors = v[10], retention = v[11], holds = v[12], attempts = v[13], timeline = v[14], created = v[15], stop = v[16], said = v[17],
    rerun = v[18], reserved = v[19], private = v[20], large = v[21], owner = v[22], deadline = v[23],
  }
end
