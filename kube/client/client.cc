#include "kube/client/client.h"

#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/timer.h"
#include "kube/access/credentials.h"
#include "kube/access/proxy.h"
#include "kube/access/tls_files.h"
#include "kube/access/token_file.h"
#include "kube/client/answer_error.h"
#include "kube/client/event_loop.h"
#include "kube/client/rate_limiter.h"
#include "kube/client/request_metrics.h"
#include "kube/client/resource.h"
#include "kube/client/transport.h"

namespace sharder::kube {

namespace {

using std::chrono::milliseconds;

// A larger answer is kTooLarge, so that the reader asks for a smaller page (docs/design.md, section 3).
constexpr std::size_t kMaxAnswerBytes = 32U << 20U;
// Of an error's body only the message is used.
constexpr std::size_t kMaxErrorBytes = 1U << 20U;
constexpr milliseconds kConnectTimeout{5'000};
// The wait after a 429 without Retry-After, as in client-go.
constexpr std::chrono::seconds kDefaultRetryAfter{1};
// A larger answer leaves holes in the heap. It is worth giving that memory back to the system.
constexpr std::size_t kTrimBytes = 1U << 20U;
constexpr std::chrono::seconds kTrimDelay{2};

bool is_success(int status) {
  return status >= 200 && status < 300;
}

std::string seconds_text(milliseconds time) {
  std::string text = std::to_string(static_cast<double>(time.count()) / 1000);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) {
    text.pop_back();
  }
  return text + " s";
}

// The headers of every request: whom to act for.
Result<std::vector<std::string>> impersonation_headers(const ClusterConfig& config) {
  std::vector<std::string> headers;
  if (!config.impersonate_user.empty()) {
    headers.push_back("Impersonate-User: " + config.impersonate_user);
  } else if (!config.impersonate_uid.empty() || !config.impersonate_groups.empty() ||
             !config.impersonate_extra.empty()) {
    return fail(ErrorCode::kInvalid, "impersonation of groups, uid or extra needs a user");
  }
  if (!config.impersonate_uid.empty()) {
    headers.push_back("Impersonate-Uid: " + config.impersonate_uid);
  }
  for (const std::string& group : config.impersonate_groups) {
    headers.push_back("Impersonate-Group: " + group);
  }
  for (const auto& [key, value] : config.impersonate_extra) {
    headers.push_back("Impersonate-Extra-" + percent_encode(key) + ": " + value);
  }
  if (!std::ranges::all_of(headers, valid_header_value)) {
    return fail(ErrorCode::kInvalid, "impersonation: control characters in a name");
  }
  return headers;
}

std::optional<std::string> process_environment(const std::string& name) {
  const char* const value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

// Removes our Authorization from a text of the server: a page of a proxy, or of a server made for debugging, may repeat
// it. A secret shorter than any real token is left in, because it may be part of any word.
std::string without_credentials(std::string text, std::string_view authorization) {
  constexpr std::size_t kShortest = 8;
  const std::string_view secret = authorization.substr(authorization.find(' ') + 1);
  if (secret.size() >= kShortest) {
    for (auto at = text.find(secret); at != std::string::npos; at = text.find(secret, at)) {
      text.replace(at, secret.size(), "...");
    }
  }
  return text;
}

// The checked parts of a client.
struct Parts {
  TransportOptions transport;
  TlsFiles tls;
  std::vector<std::string> headers;
};

Result<Parts> check(const ClusterConfig& config, const ClientOptions& options, const Logger& log) {
  auto server = parse_server_url(config.server);
  if (!server) {
    return fail("server", server.error());
  }
  std::string proxy = config.proxy_url;
  if (proxy.empty()) {
    proxy = proxy_from_environment(*server, process_environment);
  }
  if (!proxy.empty()) {
    if (const auto parsed = parse_proxy_url(proxy); !parsed) {
      return fail("proxy", parsed.error());
    }
  }
  auto tls = TlsFiles::load(config, log);
  if (!tls) {
    return std::unexpected(tls.error());
  }
  auto headers = impersonation_headers(config);
  if (!headers) {
    return std::unexpected(headers.error());
  }
  if (!config.token_file.empty()) {
    if (const auto token = read_token(config.token_file); !token) {
      return std::unexpected(token.error());
    }
  }
  if (!valid_header_value(config.token) || !valid_header_value(options.user_agent)) {
    return fail(ErrorCode::kInvalid, "token: control characters in it");
  }
  return Parts{.transport = {.server = *std::move(server),
                             .tls_server_name = config.tls_server_name,
                             .proxy = std::move(proxy),
                             .user_agent = options.user_agent},
               .tls = *std::move(tls),
               .headers = *std::move(headers)};
}

}  // namespace

// A call goes   begin ─► (rate limit) ─► authenticate ─► dispatch ─► on_done ─► finish
//                                            ▲                         │
//                                            └── Retry-After, 401 ◄────┘
// with one deadline over all of it. Everything below runs on the API loop.
struct Client::Impl {
  class Call;
  class Handle;

  Impl(ClusterConfig cluster_config, const ClientOptions& options, Parts parts, prometheus::Registry* registry,
       Logger logger);
  ~Impl();

  void begin(const std::shared_ptr<Call>& call);
  void authenticate(const std::shared_ptr<Call>& call);
  void dispatch(Call& call, CredentialSource::Current current);
  void wait(Call& call, std::chrono::nanoseconds delay);
  void on_deadline(Call& call);
  void on_done(Call& call, const std::optional<ExchangeFailure>& failure);
  void on_answer(Call& call);
  void retry_with_new_credentials(Call& call);
  void drop_exchange(Call& call, bool unanswered);
  void cancel(Call& call);
  void finish(Call& call, Result<Response> result);
  void trim_later();
  void shut_down();

  Error error(const Call& call, ErrorCode code, const std::string& message) const;
  Error answer_error(const Call& call) const;

  const ClusterConfig config;
  Logger log;
  SystemClock clock;
  const std::vector<std::string> impersonation;
  RateLimiter limiter;
  RequestMetrics metrics;
  TlsFiles tls;
  std::minstd_rand random{std::random_device{}()};
  EventLoop loop;
  CredentialSource::Current tls_for;  // the credentials that the transport's TLS was set up with
  std::unordered_map<Call*, std::shared_ptr<Call>> calls;
  std::unique_ptr<CredentialSource> credentials;
  std::unique_ptr<Transport> transport;
  Timer trim_timer{loop};
  bool closing = false;
};

// One request with its retries, or one stream.
class Client::Impl::Call final : public ExchangeSink, public std::enable_shared_from_this<Call> {
 public:
  Call(Impl& client, Request what, Callback on_answer, std::shared_ptr<StreamSink> stream)
      : request(std::move(what)),
        begun(std::chrono::steady_clock::now()),
        deadline(begun + request.timeout),
        callback(std::move(on_answer)),
        sink(std::move(stream)),
        deadline_timer(client.loop),
        wait_timer(client.loop),
        client_(client) {}

  void on_head(const ResponseHead& new_head) override {
    head = new_head;
    if (sink != nullptr && is_success(head.status)) {
      opened = true;
      deadline_timer.cancel();  // a stream may last
      if (!cancelled) {
        sink->on_open();
      }
    } else if (head.content_length && *head.content_length <= kMaxAnswerBytes) {
      body.reserve(*head.content_length);
    }
  }

  bool on_data(std::string_view chunk) override {
    if (opened) {
      if (!cancelled) {
        sink->on_data(chunk);
      }
      return true;
    }
    if (!is_success(head.status)) {
      body.append(chunk.substr(0, kMaxErrorBytes - std::min(body.size(), kMaxErrorBytes)));
      return true;
    }
    if (body.size() + chunk.size() > kMaxAnswerBytes) {
      return false;
    }
    body.append(chunk);
    return true;
  }

  void on_done(const std::optional<ExchangeFailure>& failure) override {
    exchange = nullptr;
    client_.on_done(*this, failure);
  }

  Impl& client() { return client_; }

  const Request request;
  const SteadyTime begun;
  const SteadyTime deadline;
  Callback callback;                 // of a request,
  std::shared_ptr<StreamSink> sink;  // of a stream
  Timer deadline_timer;
  Timer wait_timer;
  CredentialSource::Current used;
  Transport::Exchange* exchange = nullptr;
  ResponseHead head;
  std::string body;
  bool opened = false;     // a stream's header has come
  bool cancelled = false;  // the stream's owner wants no more
  bool finished = false;
  bool renewed = false;         // after a 401
  bool was_overloaded = false;  // sent again after a Retry-After
  bool trusted = false;         // tried again with certificates read anew

 private:
  Impl& client_;
};

class Client::Impl::Handle final : public Stream {
 public:
  explicit Handle(std::weak_ptr<Call> call) : call_(std::move(call)) {}

  void cancel() override {
    const auto call = call_.lock();
    if (call != nullptr && !call->finished && !std::exchange(call->cancelled, true)) {
      call->client().loop.post([call] { call->client().cancel(*call); });
    }
  }

 private:
  const std::weak_ptr<Call> call_;
};

Client::Impl::Impl(ClusterConfig cluster_config, const ClientOptions& options, Parts parts,
                   prometheus::Registry* registry, Logger logger)
    : config(std::move(cluster_config)),
      log(std::move(logger)),
      impersonation(std::move(parts.headers)),
      limiter(options.qps, options.burst),
      metrics(registry, parts.transport.server.address()),
      tls(std::move(parts.tls)),
      loop(options.thread_name, log),
      credentials(std::make_unique<CredentialSource>(config, clock, loop, log)),
      transport(std::make_unique<Transport>(loop, std::move(parts.transport), tls.material())) {}

Client::Impl::~Impl() {
  loop.stop([this] { shut_down(); });
}

void Client::Impl::shut_down() {
  closing = true;
  trim_timer.cancel();
  while (!calls.empty()) {
    cancel(*calls.begin()->second);
  }
  credentials.reset();
  transport.reset();
}

void Client::Impl::begin(const std::shared_ptr<Call>& call) {
  calls.emplace(call.get(), call);
  if (closing || call->cancelled) {
    cancel(*call);
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  call->deadline_timer.set(call->deadline - now, [this, call = call.get()] { on_deadline(*call); });
  std::optional<std::chrono::nanoseconds> delay(0);
  if (const Lane lane = call->request.lane; lane != Lane::kUrgent && lane != Lane::kWatch) {
    delay = limiter.reserve(now, call->deadline - now);
  }
  if (!delay) {
    finish(*call, std::unexpected(error(
                      *call, ErrorCode::kUnavailable,
                      "the client-side rate limit does not allow it within " + seconds_text(call->request.timeout))));
  } else if (delay->count() > 0) {
    wait(*call, *delay);
  } else {
    authenticate(call);
  }
}

void Client::Impl::wait(Call& call, std::chrono::nanoseconds delay) {
  call.wait_timer.set(delay, [this, &call] { authenticate(call.shared_from_this()); });
}

void Client::Impl::authenticate(const std::shared_ptr<Call>& call) {
  credentials->get([this, call](Result<CredentialSource::Current> current) {
    if (call->finished) {
      return;
    }
    if (!current) {
      finish(*call, std::unexpected(error(*call, current.error().code, current.error().message)));
      return;
    }
    dispatch(*call, *std::move(current));
  });
}

void Client::Impl::dispatch(Call& call, CredentialSource::Current current) {
  if (call.request.still_wanted && !call.request.still_wanted()) {
    cancel(call);
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  if (tls.refresh(now) || current != tls_for) {
    TlsMaterial material = tls.material();
    if (config.exec && !current->client_key_pem.empty()) {
      material.client_certificate_pem = current->client_certificate_pem;
      material.client_key_pem = current->client_key_pem;
    }
    transport->set_tls(std::move(material));
    tls_for = current;
  }
  call.used = std::move(current);
  call.head = {};
  call.body.clear();
  Outgoing outgoing{.method = call.request.method,
                    .target = call.request.target,
                    .body = call.request.body,
                    .headers = impersonation,
                    .lane = call.request.lane,
                    .connect_timeout = std::clamp(std::chrono::ceil<milliseconds>(call.deadline - now), milliseconds(1),
                                                  kConnectTimeout)};
  outgoing.headers.push_back("Accept: " + call.request.accept);
  if (!call.request.content_type.empty() || !call.request.body.empty()) {
    outgoing.headers.push_back("Content-Type: " +
                               (call.request.content_type.empty() ? "application/json" : call.request.content_type));
  } else {
    outgoing.headers.emplace_back("Content-Type:");  // libcurl would name a form
  }
  if (!call.used->authorization.empty()) {
    outgoing.headers.push_back("Authorization: " + call.used->authorization);
  }
  call.exchange = transport->start(outgoing, call);
}

void Client::Impl::on_deadline(Call& call) {
  const bool sent = call.exchange != nullptr && Transport::sent(call.exchange);
  const char* const what = sent                       ? "no answer within "
                           : call.exchange != nullptr ? "no connection within "
                                                      : "not sent within ";
  drop_exchange(call, sent);
  finish(call, std::unexpected(error(call, ErrorCode::kTimeout, what + seconds_text(call.request.timeout))));
}

void Client::Impl::drop_exchange(Call& call, bool unanswered) {
  if (Transport::Exchange* const exchange = std::exchange(call.exchange, nullptr)) {
    metrics.count(call.request.method, call.head.status);
    if (unanswered) {
      transport->abort_unanswered(exchange);
    } else {
      transport->abort(exchange);
    }
  }
}

void Client::Impl::cancel(Call& call) {
  if (!call.finished) {
    drop_exchange(call, false);
    finish(call, std::unexpected(error(call, ErrorCode::kCancelled, "cancelled")));
  }
}

void Client::Impl::on_done(Call& call, const std::optional<ExchangeFailure>& failure) {
  metrics.count(call.request.method, call.head.status);
  if (!failure) {
    on_answer(call);
    return;
  }
  if (failure->certificate_rejected && !std::exchange(call.trusted, true) &&
      tls.refresh(std::chrono::steady_clock::now(), true)) {
    tls_for.reset();  // the certificates have just been rotated, and nothing was sent
    authenticate(call.shared_from_this());
    return;
  }
  const bool too_large = failure->code == ErrorCode::kTooLarge;
  finish(call, std::unexpected(
                   error(call, failure->code,
                         too_large ? "the answer is larger than " + std::to_string(kMaxAnswerBytes >> 20U) + " MiB"
                                   : failure->message)));
}

void Client::Impl::on_answer(Call& call) {
  const int status = call.head.status;
  if (is_success(status)) {
    finish(call, Response{.status = status, .body = std::move(call.body), .was_overloaded = call.was_overloaded});
    return;
  }
  if (status == 401 && !std::exchange(call.renewed, true)) {
    retry_with_new_credentials(call);
    return;
  }
  Error failure = answer_error(call);
  if (failure.retry_after) {
    // Up to a quarter more, so that requests that failed together do not come back together.
    const std::chrono::duration<double> least(std::max<double>(static_cast<double>(failure.retry_after->count()), 0.1));
    const auto delay = least * std::uniform_real_distribution(1.0, 1.25)(random);
    if (std::chrono::steady_clock::now() + delay < call.deadline) {
      call.was_overloaded = true;
      wait(call, std::chrono::duration_cast<std::chrono::nanoseconds>(delay));
      return;
    }
  }
  finish(call, std::unexpected(std::move(failure)));
}

void Client::Impl::retry_with_new_credentials(Call& call) {
  credentials->renew(call.used, [this, call = call.shared_from_this()](Result<CredentialSource::Current> current) {
    if (call->finished) {
      return;
    }
    if (current && *current != call->used) {
      dispatch(*call, *std::move(current));
      return;
    }
    Error failure = answer_error(*call);
    if (!current) {
      failure.message += ": " + current.error().message;
    }
    finish(*call, std::unexpected(std::move(failure)));
  });
}

void Client::Impl::finish(Call& call, Result<Response> result) {
  const auto self = call.shared_from_this();
  call.finished = true;
  call.deadline_timer.cancel();
  call.wait_timer.cancel();
  calls.erase(&call);
  const auto duration = std::chrono::steady_clock::now() - call.begun;
  if (log.enabled(LogLevel::kDebug)) {
    log.debug("request", {{"request", describe(call.request.method, call.request.target)},
                          {"status", call.head.status},
                          {"ms", std::chrono::duration_cast<milliseconds>(duration).count()}});
  }
  if (call.sink != nullptr) {
    const auto sink = std::move(call.sink);
    sink->on_close(result ? std::nullopt : std::optional(std::move(result.error())));
    return;
  }
  metrics.observe(call.request.method, duration);
  if (result && result->body.capacity() > kTrimBytes) {
    trim_later();
  }
  auto callback = std::exchange(call.callback, {});
  callback(std::move(result));
}

// glibc keeps the memory of large answers, because its heap shrinks only from the top.
void Client::Impl::trim_later() {
  if (!trim_timer.is_set() && !closing) {
    trim_timer.set(kTrimDelay, [] { malloc_trim(0); });
  }
}

Error Client::Impl::error(const Call& call, ErrorCode code, const std::string& message) const {
  return {.code = code, .message = describe(call.request.method, call.request.target) + ": " + message};
}

Error Client::Impl::answer_error(const Call& call) const {
  std::optional<std::chrono::seconds> retry_after;
  if (call.head.status == 429 || call.head.status == 503) {
    retry_after = parse_retry_after(call.head.retry_after, clock.wall());
  }
  if (call.head.status == 429 && !retry_after) {
    retry_after = kDefaultRetryAfter;
  }
  return error_from_answer(call.request.method, call.request.target, call.head.status,
                           without_credentials(call.body, call.used->authorization), retry_after);
}

Result<std::unique_ptr<Client>> Client::create(ClusterConfig config, const ClientOptions& options,
                                               prometheus::Registry* registry, Logger log) {
  log = log.named("kube");
  auto parts = check(config, options, log);
  if (!parts) {
    return fail(config.source.empty() ? "API client" : config.source, std::move(parts.error()));
  }
  return std::unique_ptr<Client>(
      new Client(std::make_unique<Impl>(std::move(config), options, *std::move(parts), registry, std::move(log))));
}

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Client::~Client() = default;

void Client::send(Request request, Callback callback) {
  auto call = std::make_shared<Impl::Call>(*impl_, std::move(request), std::move(callback), nullptr);
  impl_->loop.post([impl = impl_.get(), call = std::move(call)] { impl->begin(call); });
}

std::unique_ptr<Stream> Client::open_stream(Request request, std::shared_ptr<StreamSink> sink) {
  auto call = std::make_shared<Impl::Call>(*impl_, std::move(request), Callback(), std::move(sink));
  auto handle = std::make_unique<Impl::Handle>(call);
  impl_->loop.post([impl = impl_.get(), call = std::move(call)] { impl->begin(call); });
  return handle;
}

Executor& Client::loop() {
  return impl_->loop;
}

}  // namespace sharder::kube
