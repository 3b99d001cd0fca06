-- What the scripts decide by; nil when there is no such job.
local function read_job(id)
  local v = redis.call('HMGET', P .. 'job:' .. id, 'state', 'fence', 'lane', 'tenant', 'key', 'provider', 'model', 'attempt',
    'doors', 'retention', 'holds', 'attempts', 'timeline', 'created', 'stop', 'said', 'rerun', 'reserved', 'private', 'large', 'owner',
    'deadline', 'tags')
  if not v[1] then return nil end
  return {
    state = v[1], fence = v[2], lane = v[3], tenant = v[4], key = v[5], provider = v[6], model = v[7], attempt = v[8],
    doors = v[9], retention = v[10], holds = v[11], attempts = v[12], timeline = v[13], created = v[14], stop = v[15], said = v[16],
    rerun = v[17], reserved = v[18], private = v[19], large = v[20], owner = v[21], deadline = v[22], tags = v[23],
  }
end
