-- wrk script: posts admission reviews for Secrets with ever new names; wrk ... URL -- FILE. FILE is a review whose
-- object is called NAME. Closes with one line of JSON: requests, seconds, errors, latencies in microseconds.
local parts = {}
local number = 0

function init(args)
  local file = assert(io.open(args[1], "r"))
  local review = file:read("*a")
  file:close()
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  parts = {}
  local at = 1
  while true do
    local from, to = review:find("NAME", at, true)
    if not from then break end
    parts[#parts + 1] = review:sub(at, from - 1)
    at = to + 1
  end
  parts[#parts + 1] = review:sub(at)
end

function request()
  number = number + 1
  return wrk.format(nil, nil, nil, table.concat(parts, "name-" .. number))
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{"requests": %d, "seconds": %.3f, "errors": %d, "p50": %d, "p99": %d}\n', summary.requests,
    summary.duration / 1e6, errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
