-- For wrk: posts the pictures of a list one after the other, and ends with a line of JSON.
-- Arguments: PATH CONTENT_TYPE LIST FORM [ACCEPT]; FORM is raw, or a JSON text with %s in the place of the base64,
-- where LIST names files that hold base64 already.
local requests, position = {}, 0

local function content(path)
  local file = assert(io.open(path, "rb"))
  local data = file:read("*a")
  file:close()
  return data
end

function init(arguments)
  local path, content_type, list, form = arguments[1], arguments[2], arguments[3], arguments[4]
  local headers = { ["Content-Type"] = content_type, ["Accept"] = arguments[5] }
  for name in io.lines(list) do
    local body = content(name)
    if form ~= "raw" then
      local before, after = form:match("^(.*)%%s(.*)$")
      body = before .. body .. after
    end
    requests[#requests + 1] = wrk.format("POST", path, headers, body)
  end
end

function request()
  position = position % #requests + 1
  return requests[position]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"answers": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
