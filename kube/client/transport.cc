#include "kube/client/transport.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstring>
#include <iterator>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/ascii.h"
#include "base/delete_with.h"
#include "base/timer.h"
#include "kube/client/answer_error.h"

namespace sharder::kube {

namespace {

// kube-apiserver allows 100 streams on a connection. The rest is for streams that have ended and that it still counts.
constexpr std::size_t kMaxStreams = 80;
// HTTP/1.1 needs a connection for each request in flight. A request that waits for one fails at the end of its connect
// timeout. So all moves of a ring (concurrentMoves is 100) must have one, even if a webhook is slow. Watches have no
// limit.
constexpr long kMaxConnections = 128;
// kube-apiserver and most load balancers close a connection that was idle for 90 s or 60 s: do not race them.
constexpr std::chrono::seconds kMaxIdle{50};
// A name may point somewhere else after a fail-over.
constexpr long kDnsCacheSeconds = 10;
// A pool with requests in flight that heard nothing for so long takes no new ones.
constexpr std::chrono::seconds kSilence{3};
// The kernel closes a connection whose peer acknowledges nothing for so long, and probes an idle peer this often.
constexpr int kUserTimeoutMs = 20'000;
constexpr long kKeepAliveIdleSeconds = 10;
constexpr long kKeepAliveIntervalSeconds = 5;
constexpr int kKeepAliveProbes = 3;
constexpr std::size_t kMaxIdleHandles = 32;
// Answers to moves come one by one, hundreds a second. Each would wake this loop, the control loop, and this one again
// for the next move. While kManyMoves or more are under way on a connection, it is read and written only every
// kMovesPause (docs/decisions/0004).
constexpr std::size_t kManyMoves = 16;
constexpr std::chrono::milliseconds kMovesPause{6};
constexpr char kSystemRoots[] = "/etc/ssl/certs";

using EasyHandle = std::unique_ptr<CURL, DeleteWith<curl_easy_cleanup>>;
using HeaderList = std::unique_ptr<curl_slist, DeleteWith<curl_slist_free_all>>;

void init_curl() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

void append(HeaderList& list, const std::string& line) {
  if (curl_slist* const longer = curl_slist_append(list.get(), line.c_str())) {
    static_cast<void>(list.release());  // NOLINT(bugprone-unused-return-value): `longer` begins with it
    list.reset(longer);
  }
}

curl_blob blob_of(const std::string& text) {
  // libcurl only reads it; a handle keeps what it was set up with.
  return {.data = const_cast<char*>(text.data()), .len = text.size(), .flags = CURL_BLOB_NOCOPY};  // NOLINT
}

// The size of libcurl's receive buffer. Pages come in large pieces. There are many watches, mostly idle. A hundred
// moves are under way, and little of their answers is used.
long buffer_size(Lane lane) {
  return lane == Lane::kList ? 128L * 1024 : lane == Lane::kMove ? 4L * 1024 : 16L * 1024;
}
// The size of libcurl's send buffer, the smallest that it allows. Our bodies are small, and each request has one: the
// default is 64 KiB.
constexpr long kUploadBufferSize = 16L * 1024;

// Whether the server has agreed to HTTP/2 in the TLS handshake of the connection that `easy` is about to use.
bool is_multiplexed(CURL* easy) {
  curl_tlssessioninfo* tls = nullptr;
  if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &tls) != CURLE_OK || tls == nullptr || tls->internals == nullptr) {
    return false;
  }
  const unsigned char* protocol = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(static_cast<const SSL*>(tls->internals), &protocol, &length);
  return std::string_view(reinterpret_cast<const char*>(protocol), length) == "h2";  // NOLINT(*-reinterpret-cast)
}

int on_socket_made(void* /*user*/, curl_socket_t fd, curlsocktype /*purpose*/) noexcept {
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUserTimeoutMs, sizeof kUserTimeoutMs);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &kKeepAliveProbes, sizeof kKeepAliveProbes);
  return CURL_SOCKOPT_OK;
}

}  // namespace

namespace {

struct Handle {
  EasyHandle easy;
  std::shared_ptr<const TlsMaterial> tls;  // that it was set up with; libcurl reads its blobs in place
};

class Pool;

}  // namespace

class Transport::Exchange {
 public:
  // For libcurl; `user` is the Exchange.
  static std::size_t on_header_line(char* data, std::size_t size, std::size_t count, void* user) noexcept {
    static_cast<Exchange*>(user)->header_line({data, size * count});
    return size * count;
  }
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) noexcept {
    auto& self = *static_cast<Exchange*>(user);
    self.heard();
    self.stopped_ = !self.sink_.on_data({data, size * count});
    return self.stopped_ ? 0 : size * count;
  }
  // Its connection is made, nothing was sent yet.
  static int on_connected(void* user, char* /*peer*/, char* /*own*/, int /*peer_port*/, int /*own_port*/) noexcept;

  Exchange(ExchangeSink& sink, Method method, Handle handle, HeaderList headers, Pool& pool)
      : sink_(sink), method_(method), handle_(std::move(handle)), headers_(std::move(headers)), pool_(pool) {}

  CURL* easy() const { return handle_.easy.get(); }

  void header_line(std::string_view line);
  void heard();
  ExchangeFailure failure(CURLcode code, const TransportOptions& options) const;

  ExchangeSink& sink_;
  const Method method_;
  Handle handle_;
  HeaderList headers_;
  Pool& pool_;
  ResponseHead head_;
  bool stopped_ = false;  // by the sink
  bool connected_ = false;
  bool shares_ = false;  // it waits for a connection that is being made, instead of making another
  SteadyTime started_ = std::chrono::steady_clock::now();
  std::array<char, CURL_ERROR_SIZE> error_{};
};

namespace {

// One HTTP/2 connection of a lane; where the server speaks HTTP/1.1, all connections of the lane. With HTTP/2 it gets
// at most kMaxStreams exchanges at a time: past a connection's limit of streams, libcurl would open a connection for
// each further request instead of sharing the second one.
class Pool final : public FdHandler {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void on_finished(Pool& pool, CURL* easy, CURLcode code) = 0;
    // An exchange has got its connection, on which the server speaks HTTP/2 (`multiplexed`) or HTTP/1.1.
    virtual void on_connected(bool multiplexed) = 0;
    // The pool's work is done for now. It may be deleted here when it is spent().
    virtual void on_rest(Pool& pool) = 0;
  };

  Pool(EventLoop& loop, Owner& owner, Lane of) : lane(of), loop_(loop), owner_(owner), multi_(curl_multi_init()) {
    curl_multi_setopt(multi_, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    curl_multi_setopt(multi_, CURLMOPT_MAX_HOST_CONNECTIONS, lane == Lane::kWatch ? 0L : kMaxConnections);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &Pool::on_socket);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &Pool::on_timer);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  }
  // No exchange is left.
  ~Pool() override {
    curl_multi_cleanup(multi_);  // closes the connections, unwatches their sockets
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  void add(Transport::Exchange& exchange) {
    active.insert(&exchange);
    curl_multi_add_handle(multi_, exchange.easy());
  }
  void remove(Transport::Exchange& exchange) {
    active.erase(&exchange);
    curl_multi_remove_handle(multi_, exchange.easy());
  }

  // The exchange has a connection. If it cannot be shared, exchanges that wait for it make connections of their own:
  // libcurl 8.14 lets them wait until this one is free again, which with a watch is never.
  void connected(Transport::Exchange& exchange, bool multiplexed) {
    owner_.on_connected(multiplexed);
    must_not_share_ = must_not_share_ || (exchange.shares_ && !multiplexed);
    exchange.shares_ = false;
  }

  void on_ready(int fd, std::uint32_t events) override {
    const unsigned mask = ((events & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0U) |
                          ((events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0U) |
                          ((events & (EPOLLERR | EPOLLHUP)) != 0 ? CURL_CSELECT_IN | CURL_CSELECT_ERR : 0U);
    if (lane == Lane::kMove && active.size() >= kManyMoves && sockets_.size() == 1 && !pause_.is_set()) {
      pause();
    }
    drive(fd, static_cast<int>(mask));
  }

  // Nothing was heard for a while although answers are due.
  bool silent(SteadyTime now) const {
    if (lane == Lane::kWatch || active.empty() || now - last_heard < kSilence) {
      return false;
    }
    return std::ranges::any_of(active, [&](const auto* exchange) { return now - exchange->started_ >= kSilence; });
  }
  // The server has closed its connection by now, or will soon.
  bool idle(SteadyTime now) const { return active.empty() && now - last_heard >= kMaxIdle; }
  // It may be deleted.
  bool spent() const { return retired && active.empty() && driving_ == 0; }

  const Lane lane;
  bool retired = false;
  SteadyTime last_heard = std::chrono::steady_clock::now();
  std::unordered_set<Transport::Exchange*> active;

 private:
  static int on_socket(CURL* /*easy*/, curl_socket_t fd, int what, void* user, void* /*socket*/) noexcept {
    auto& self = *static_cast<Pool*>(user);
    if (what == CURL_POLL_REMOVE) {
      self.sockets_.erase(fd);
      self.loop_.unwatch(fd);
    } else {
      const std::uint32_t in = (what & CURL_POLL_IN) != 0 ? std::uint32_t{EPOLLIN} : 0U;
      const std::uint32_t out = (what & CURL_POLL_OUT) != 0 ? std::uint32_t{EPOLLOUT} : 0U;
      self.sockets_[fd] = in | out;
      self.watch(fd, in | out);
    }
    return 0;
  }

  void watch(int fd, std::uint32_t events) { loop_.watch(fd, pause_.is_set() ? 0U : events, *this); }

  void watch_all() {
    for (const auto& [fd, events] : sockets_) {
      watch(fd, events);
    }
  }

  // Until the end of the pause nothing is read and nothing is sent. Errors are noticed at once.
  void pause() {
    pause_.set(kMovesPause, [this] {
      watch_all();
      if (std::exchange(timer_due_, false)) {
        drive(CURL_SOCKET_TIMEOUT, 0);
      }
    });
    watch_all();
  }

  static int on_timer(CURLM* /*multi*/, long timeout_ms, void* user) noexcept {
    auto& self = *static_cast<Pool*>(user);
    self.timer_.cancel();
    if (timeout_ms >= 0) {  // -1: no timer. Never call drive() here, not even for 0.
      self.timer_.set(std::chrono::milliseconds(timeout_ms), [&self] {
        if (self.pause_.is_set()) {
          self.timer_due_ = true;
        } else {
          self.drive(CURL_SOCKET_TIMEOUT, 0);
        }
      });
    }
    return 0;
  }

  void drive(curl_socket_t fd, int mask) {
    ++driving_;
    int running = 0;
    curl_multi_socket_action(multi_, fd, mask, &running);
    int left = 0;
    while (const CURLMsg* const message = curl_multi_info_read(multi_, &left)) {
      if (message->msg == CURLMSG_DONE) {
        owner_.on_finished(*this, message->easy_handle, message->data.result);
      }
    }
    if (std::exchange(must_not_share_, false)) {
      share_no_more();
    }
    --driving_;
    owner_.on_rest(*this);
  }

  void share_no_more() {
    std::vector<Transport::Exchange*> waiting;
    std::ranges::copy_if(active, std::back_inserter(waiting), &Transport::Exchange::shares_);
    for (Transport::Exchange* const exchange : waiting) {
      remove(*exchange);
      exchange->shares_ = false;
      curl_easy_setopt(exchange->easy(), CURLOPT_PIPEWAIT, 0L);
      add(*exchange);
    }
  }

  EventLoop& loop_;
  Owner& owner_;
  CURLM* const multi_;
  Timer timer_{loop_};                              // libcurl's
  Timer pause_{loop_};                              // until it ends, libcurl is not called
  bool timer_due_ = false;                          // libcurl's timer ended meanwhile
  std::unordered_map<int, std::uint32_t> sockets_;  // of its connections: the events that libcurl waits for
  bool must_not_share_ = false;                     // checked when libcurl has returned
  int driving_ = 0;
};

}  // namespace

int Transport::Exchange::on_connected(void* user, char* /*peer*/, char* /*own*/, int /*peer_port*/,
                                      int /*own_port*/) noexcept {
  auto& self = *static_cast<Exchange*>(user);
  // libcurl would send a request anew if its connection is lost before any answer, and others had used that connection
  // before. Only the caller can judge what a lost connection did to a write.
  if (std::exchange(self.connected_, true) && self.method_ != Method::kGet) {
    return CURL_PREREQFUNC_ABORT;
  }
  self.pool_.connected(self, is_multiplexed(self.easy()));
  return CURL_PREREQFUNC_OK;
}

void Transport::Exchange::heard() {
  pool_.last_heard = std::chrono::steady_clock::now();
}

void Transport::Exchange::header_line(std::string_view line) {
  heard();
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) {
    line.remove_suffix(1);
  }
  if (line.starts_with("HTTP/")) {  // also of a 100 Continue: the last one counts
    head_ = {};
    const std::string_view digits = line.substr(std::min(line.find(' '), line.size() - 1) + 1);
    std::from_chars(digits.data(), digits.data() + digits.size(), head_.status);
    return;
  }
  if (line.empty()) {
    if (head_.status >= 200) {
      sink_.on_head(head_);
    }
    return;
  }
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) {
    return;
  }
  const std::string_view name = line.substr(0, colon);
  std::string_view value = line.substr(colon + 1);
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  if (equals_ignoring_case(name, "retry-after")) {
    head_.retry_after = value;
  } else if (equals_ignoring_case(name, "content-length")) {
    std::size_t length = 0;
    if (std::from_chars(value.data(), value.data() + value.size(), length).ec == std::errc()) {
      head_.content_length = length;
    }
  }
}

ExchangeFailure Transport::Exchange::failure(CURLcode code, const TransportOptions& options) const {
  ExchangeFailure result;
  std::string detail(error_.data());
  if (detail.empty()) {
    detail = curl_easy_strerror(code);
  }
  while (!detail.empty() && detail.back() == '\n') {
    detail.pop_back();
  }
  std::string peer = options.server.address();
  if (!options.proxy.empty()) {
    const auto proxy = parse_proxy_url(options.proxy);
    peer = (proxy ? proxy->address() : std::string("?")) + " (proxy)";
  }
  long os_error = 0;
  switch (code) {
    case CURLE_COULDNT_CONNECT:
      curl_easy_getinfo(easy(), CURLINFO_OS_ERRNO, &os_error);
      result.message = "connect to " + peer + ": " + (os_error != 0 ? strerror(static_cast<int>(os_error)) : detail);
      break;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      result.message = "connect to " + peer + ": no address found for this name";
      break;
    case CURLE_OPERATION_TIMEDOUT:  // we give libcurl no timeout but that of the connect
      result.message = "connect to " + peer + ": no connection in time";
      break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
      result.certificate_rejected = true;
      [[fallthrough]];
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
      result.message = "TLS with " + options.server.address() + ": " + detail;
      break;
    case CURLE_ABORTED_BY_CALLBACK:  // on_connected()
      result.message = "the connection was lost before the answer came";
      break;
    case CURLE_WRITE_ERROR:
      result.code = stopped_ ? ErrorCode::kTooLarge : ErrorCode::kUnavailable;
      result.message = stopped_ ? "the answer is too large" : detail;
      break;
    default:
      result.message = detail;
  }
  return result;
}

struct Transport::Impl final : Pool::Owner {
  Impl(EventLoop& event_loop, TransportOptions transport_options, TlsMaterial tls)
      : loop(event_loop), options(std::move(transport_options)) {
    shared_tls = std::make_shared<const TlsMaterial>(std::move(tls));
    base_url = options.server.text();
    http1 = options.server.scheme == "http";  // HTTP/2 is agreed upon in the TLS handshake
    if (!options.tls_server_name.empty() && options.tls_server_name != options.server.host) {
      // libcurl takes SNI and the expected name from the URL. So the URL has that name, and CURLOPT_CONNECT_TO the
      // host.
      ServerUrl named = options.server;
      named.host = options.tls_server_name;
      base_url = named.text();
      host_header = "Host: " + options.server.address();
      append(connect_to, named.address() + ":" + options.server.address());
    }
  }
  ~Impl() override {
    for (auto& pool : pools) {
      while (!pool->active.empty()) {
        Exchange* const exchange = *pool->active.begin();
        pool->remove(*exchange);
        delete exchange;
      }
    }
  }

  void on_finished(Pool& pool, CURL* easy, CURLcode code) override;
  void on_connected(bool multiplexed) override { http1 = !multiplexed; }
  void on_rest(Pool& pool) override {
    if (pool.spent()) {
      std::erase_if(pools, [&](const auto& other) { return other.get() == &pool; });
    }
  }

  Pool& pool_for(Lane lane);
  void retire(Pool& pool);
  Handle take_handle();
  void set_up(Handle& handle) const;
  void set_up_proxy(CURL* easy) const;
  HeaderList headers_of(const Outgoing& outgoing) const;
  void release(Exchange* exchange);

  EventLoop& loop;
  const TransportOptions options;
  std::string base_url;
  std::string host_header;
  HeaderList connect_to;
  std::shared_ptr<const TlsMaterial> shared_tls;  // of all exchanges until it changes; so long handles stay set up
  std::vector<Handle> idle_handles;
  std::vector<std::unique_ptr<Pool>> pools;  // of all lanes, those retired as well
  bool http1 = false;                        // the server, or a proxy in between, last spoke HTTP/1.1
};

void Transport::Impl::on_finished(Pool& pool, CURL* easy, CURLcode code) {
  Exchange* exchange = nullptr;
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, &exchange);
  pool.remove(*exchange);
  std::optional<ExchangeFailure> failure;
  if (code != CURLE_OK) {
    failure = exchange->failure(code, options);
  }
  ExchangeSink& sink = exchange->sink_;
  release(exchange);
  sink.on_done(failure);
}

Pool& Transport::Impl::pool_for(Lane lane) {
  const SteadyTime now = std::chrono::steady_clock::now();
  for (const auto& pool : pools) {
    pool->retired = pool->retired || pool->idle(now) || pool->silent(now);
  }
  std::erase_if(pools, [](const auto& pool) { return pool->spent(); });
  // The first one with room, so that under little load the others become idle.
  const auto found = std::ranges::find_if(pools, [&](const auto& pool) {
    return pool->lane == lane && !pool->retired && (http1 || pool->active.size() < kMaxStreams);
  });
  return found != pools.end() ? **found : *pools.emplace_back(std::make_unique<Pool>(loop, *this, lane));
}

void Transport::Impl::retire(Pool& pool) {
  pool.retired = true;
  on_rest(pool);
}

Handle Transport::Impl::take_handle() {
  Handle handle;
  if (!idle_handles.empty()) {
    handle = std::move(idle_handles.back());
    idle_handles.pop_back();
  } else {
    handle.easy.reset(curl_easy_init());
  }
  if (handle.tls != shared_tls) {
    curl_easy_reset(handle.easy.get());
    set_up(handle);
  }
  return handle;
}

void Transport::Impl::set_up(Handle& handle) const {
  CURL* const easy = handle.easy.get();
  handle.tls = shared_tls;
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);  // an abort must not wait for a resolver thread
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  // HTTP/2 is agreed upon in the TLS handshake.
  const bool may_multiplex = options.server.scheme == "https";
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                   static_cast<long>(may_multiplex ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, kUploadBufferSize);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, options.user_agent.c_str());
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, kKeepAliveIdleSeconds);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, kKeepAliveIntervalSeconds);
  curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, &on_socket_made);
  curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, static_cast<long>(kMaxIdle.count()));
  curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, kDnsCacheSeconds);
  curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, &Exchange::on_connected);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Exchange::on_header_line);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Exchange::on_body);
  curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(easy, CURLOPT_HEADEROPT, static_cast<long>(CURLHEADER_SEPARATE));  // no token for the proxy
  curl_easy_setopt(easy, CURLOPT_CONNECT_TO, connect_to.get());
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  const TlsMaterial& tls = *shared_tls;
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, tls.insecure ? 0L : 1L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, tls.insecure ? 0L : 2L);
  if (!tls.ca_pem.empty()) {
    curl_blob ca = blob_of(tls.ca_pem);
    curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);  // these roots and no others
    curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &ca);
  }
  if (!tls.client_certificate_pem.empty()) {
    curl_blob certificate = blob_of(tls.client_certificate_pem);
    curl_blob key = blob_of(tls.client_key_pem);
    curl_easy_setopt(easy, CURLOPT_SSLCERT_BLOB, &certificate);
    curl_easy_setopt(easy, CURLOPT_SSLKEY_BLOB, &key);
  }
  set_up_proxy(easy);
}

void Transport::Impl::set_up_proxy(CURL* easy) const {
  std::string proxy = options.proxy;
  if (proxy.starts_with("socks5://")) {
    proxy.insert(6, "h");  // as in Go the proxy resolves the name
  }
  curl_easy_setopt(easy, CURLOPT_PROXY, proxy.c_str());  // "": libcurl does not look into the environment
  curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
  if (const TlsMaterial& tls = *shared_tls; proxy.starts_with("https://")) {
    // An https proxy may be signed by the cluster's authority, as Go wants it, or by a public one.
    curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYPEER, tls.insecure ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYHOST, tls.insecure ? 0L : 2L);
    curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, kSystemRoots);
    if (!tls.ca_pem.empty()) {
      curl_blob ca = blob_of(tls.ca_pem);
      curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO_BLOB, &ca);
    }
  }
}

HeaderList Transport::Impl::headers_of(const Outgoing& outgoing) const {
  HeaderList list;
  for (const std::string& line : outgoing.headers) {
    append(list, line);
  }
  if (!host_header.empty()) {
    append(list, host_header);
  }
  append(list, "Expect:");  // no 100-continue: it costs a round trip, and proxies get it wrong
  return list;
}

void Transport::Impl::release(Exchange* exchange) {
  const std::unique_ptr<Exchange> gone(exchange);
  if (idle_handles.size() < kMaxIdleHandles && gone->handle_.tls == shared_tls) {
    curl_easy_setopt(gone->easy(), CURLOPT_HTTPHEADER, nullptr);
    curl_easy_setopt(gone->easy(), CURLOPT_ERRORBUFFER, nullptr);
    idle_handles.push_back(std::move(gone->handle_));
  }
}

Transport::Transport(EventLoop& loop, TransportOptions options, TlsMaterial tls) {
  init_curl();
  impl_ = std::make_unique<Impl>(loop, std::move(options), std::move(tls));
}

Transport::~Transport() = default;

Transport::Exchange* Transport::start(const Outgoing& outgoing, ExchangeSink& sink) {
  Pool& pool = impl_->pool_for(outgoing.lane);
  auto exchange =
      std::make_unique<Exchange>(sink, outgoing.method, impl_->take_handle(), impl_->headers_of(outgoing), pool);
  CURL* const easy = exchange->easy();
  const std::string url = impl_->base_url + std::string(outgoing.target);
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
  if (outgoing.method != Method::kGet && (!outgoing.body.empty() || outgoing.method != Method::kDelete)) {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(outgoing.body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, outgoing.body.empty() ? "" : outgoing.body.data());
  }
  const std::string method(to_string(outgoing.method));
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, exchange->headers_.get());
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(outgoing.connect_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, buffer_size(outgoing.lane));
  curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange.get());
  exchange->shares_ = !impl_->http1;
  curl_easy_setopt(easy, CURLOPT_PIPEWAIT, exchange->shares_ ? 1L : 0L);
  curl_easy_setopt(easy, CURLOPT_PREREQDATA, exchange.get());
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange.get());
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange.get());
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->error_.data());
  pool.add(*exchange);
  return exchange.release();
}

void Transport::abort(Exchange* exchange) {
  Pool& pool = exchange->pool_;
  pool.remove(*exchange);
  impl_->release(exchange);
  impl_->on_rest(pool);
}

void Transport::abort_unanswered(Exchange* exchange) {
  Pool& pool = exchange->pool_;
  pool.remove(*exchange);
  impl_->release(exchange);
  impl_->retire(pool);
}

bool Transport::sent(const Exchange* exchange) {
  curl_off_t microseconds = 0;
  curl_easy_getinfo(exchange->easy(), CURLINFO_PRETRANSFER_TIME_T, &microseconds);
  return microseconds > 0;
}

void Transport::set_tls(TlsMaterial tls) {
  if (tls == *impl_->shared_tls) {
    return;
  }
  impl_->shared_tls = std::make_shared<const TlsMaterial>(std::move(tls));
  impl_->idle_handles.clear();
  retire_all();
}

void Transport::retire_all() {
  for (const auto& pool : impl_->pools) {
    pool->retired = true;
  }
  std::erase_if(impl_->pools, [](const auto& pool) { return pool->spent(); });
}

}  // namespace sharder::kube
