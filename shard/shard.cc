#include "shard/shard.h"

#include <poll.h>
#include <prometheus/collectable.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "base/task_loop.h"
#include "http/server.h"
#include "kube/access/config.h"
#include "kube/client/client.h"
#include "kube/client/discovery.h"
#include "kube/events/events.h"
#include "ops/health_handler.h"
#include "ops/metrics_handler.h"
#include "ops/process_collector.h"
#include "shard/blocking_client.h"
#include "shard/engine.h"
#include "shard/lease.h"
#include "shard/lease_internal.h"
#include "shard/observer.h"

namespace sharder::shard {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How long the sharder's own Lease lasts, unless it is configured: a leader that is cut off may lead until then.
constexpr std::chrono::seconds kSharderLease{15};

// So long a move may be under way that the sharder has decided on before it saw the Lease.
constexpr std::chrono::seconds kMoveLands{2};

// Probes and scrapes: requests without a body, from few clients.
constexpr http::Limits kSmallLimits{
    .max_body_bytes = 4096, .max_connections = 64, .max_buffered_bytes = std::size_t{1024} * 1024};

// SIGTERM and SIGINT, in this thread and in those that it starts.
sigset_t block_signals() {
  sigset_t signals{};
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

// As the API server takes a field manager from a user agent.
std::string field_manager_of(const std::string& user_agent) {
  return user_agent.substr(0, user_agent.find('/'));
}

bool is_address(const std::string& address) {
  return !address.empty() && address != "0";
}

// The gauges of all controllers, read when they are collected.
class EngineCollector final : public prometheus::Collectable {
 public:
  explicit EngineCollector(const std::vector<std::unique_ptr<Engine>>& engines) : engines_(engines) {}

  std::vector<prometheus::MetricFamily> Collect() const override {
    std::vector<prometheus::MetricFamily> families;
    add(families, "workqueue_depth", "Objects that wait to be reconciled.", true,
        [](const EngineStatus& status) { return static_cast<double>(status.depth); });
    add(families, "workqueue_unfinished_work_seconds", "How long running reconciliations have taken, together.", true,
        [](const EngineStatus& status) { return std::chrono::duration<double>(status.unfinished).count(); });
    add(families, "workqueue_longest_running_processor_seconds", "How long the longest running reconciliation takes.",
        true, [](const EngineStatus& status) { return std::chrono::duration<double>(status.longest).count(); });
    add(families, "controller_runtime_active_workers", "Reconciliations that are running.", false,
        [](const EngineStatus& status) { return static_cast<double>(status.running); });
    add(families, "controller_runtime_max_concurrent_reconciles", "Reconciliations that may run at a time.", false,
        [](const EngineStatus& status) { return static_cast<double>(status.workers); });
    add(families, "controller_sharding_shard_objects", "Main objects that have this shard's label.", false,
        [](const EngineStatus& status) { return static_cast<double>(status.objects); });
    add(families, "controller_sharding_shard_draining_objects", "Of those, objects with a drain label.", false,
        [](const EngineStatus& status) { return static_cast<double>(status.draining); });
    return families;
  }

 private:
  template <class Value>
  void add(std::vector<prometheus::MetricFamily>& families, const char* name, const char* help, bool of_queue,
           Value value) const {
    prometheus::MetricFamily family{.name = name, .help = help, .type = prometheus::MetricType::Gauge, .metric = {}};
    for (const auto& engine : engines_) {
      prometheus::ClientMetric metric;
      metric.label.push_back({"controller", engine->name()});
      if (of_queue) {
        metric.label.push_back({"name", engine->name()});
      }
      metric.gauge.value = value(engine->status());
      family.metric.push_back(std::move(metric));
    }
    families.push_back(std::move(family));
  }

  const std::vector<std::unique_ptr<Engine>>& engines_;
};

}  // namespace

// The members are in the order of their dependencies: a part is built after the parts that it uses.
struct Shard::Impl {
  enum class State { kNew, kWaiting, kWorking, kStopping };

  Impl(Options o, Logger l);
  ~Impl();

  Result<void> connect(const kube::ClusterConfig& cluster);
  Result<void> serve();
  Result<void> serve(std::unique_ptr<http::Server>& server, const char* name, const std::string& address,
                     const http::Server::HandlerFactory& factory);
  Result<void> run();
  Result<void> end(bool was_lost);
  void acquired();
  void begin_if_seen();
  void begin(milliseconds pause);
  void lost();
  void renewed(BootTime valid_until);
  void wake();
  bool wait_for_end();
  bool wait_until_idle(milliseconds timeout);
  std::optional<std::string> not_ready() const;

  Options options;
  Logger log;
  const SystemClock clock;
  const sigset_t signals = block_signals();  // before the first thread
  int wakeup = -1;                           // an eventfd: stop(), or the Lease was lost
  std::atomic<State> state = State::kNew;
  std::atomic<bool> was_lost = false;
  std::optional<SteadyTime> unseen_since;  // the Lease's thread's. nullopt: the controllers have begun, or cannot yet
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  prometheus::Gauge& master_status;

  TaskLoop worker;  // gathers metrics
  std::unique_ptr<kube::Client> api;
  std::unique_ptr<kube::Client> lease_api;  // of its own, so that nothing delays a renewal
  std::unique_ptr<kube::Discovery> discovery;
  std::unique_ptr<kube::EventRecorder> events;
  std::unique_ptr<BlockingClient> client;
  std::shared_ptr<const EngineTools> tools;
  std::vector<std::unique_ptr<Engine>> engines;
  std::unique_ptr<http::Server> health_server;
  std::unique_ptr<http::Server> metrics_server;
  std::unique_ptr<Lease> lease;
};

Shard::Impl::Impl(Options o, Logger l)
    : options(std::move(o)),
      log(l.with({{"ring", options.ring}, {"shard", options.name}})),
      master_status(prometheus::BuildGauge()
                        .Name("leader_election_master_status")
                        .Help("1 while this shard's Lease is valid, else 0.")
                        .Register(*registry)
                        .Add({{"name", options.name}})),
      worker("metrics", log) {
  ::signal(SIGPIPE, SIG_IGN);  // of the listeners
  wakeup = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

Shard::Impl::~Impl() {
  lease.reset();
  health_server.reset();
  metrics_server.reset();
  worker.stop();
  engines.clear();
  ::close(wakeup);
}

Result<void> Shard::Impl::connect(const kube::ClusterConfig& cluster) {
  auto made = kube::Client::create(cluster, {.user_agent = options.user_agent}, registry.get(), log.named("kube"));
  if (!made) {
    return std::unexpected(std::move(made).error());
  }
  api = *std::move(made);
  made = kube::Client::create(cluster, {.user_agent = options.user_agent, .thread_name = "api-lease"}, registry.get(),
                              log.named("lease"));
  if (!made) {
    return std::unexpected(std::move(made).error());
  }
  lease_api = *std::move(made);
  discovery = std::make_unique<kube::Discovery>(*api, log.named("discovery"));
  events =
      std::make_unique<kube::EventRecorder>(*api, clock, field_manager_of(options.user_agent), log.named("events"));
  const auto valid = [this] { return lease != nullptr && lease->valid(); };
  client = std::make_unique<BlockingClient>(*api, *discovery, field_manager_of(options.user_agent), valid);
  tools = std::make_shared<const EngineTools>(EngineTools{.api = *api,
                                                          .discovery = *discovery,
                                                          .events = *events,
                                                          .clock = clock,
                                                          .registry = *registry,
                                                          .client = *client,
                                                          .valid = valid,
                                                          .ring = options.ring,
                                                          .shard = options.name,
                                                          .field_manager = field_manager_of(options.user_agent),
                                                          .observer = options.observer});
  lease = LeaseAccess::over(*lease_api, clock, options,
                            Lease::Callbacks{.on_acquired = [this] { acquired(); },
                                             .on_lost = [this] { lost(); },
                                             .on_renewed = [this](BootTime valid_until) { renewed(valid_until); }},
                            log.named("lease"));
  return {};
}

Result<void> Shard::Impl::serve() {
  if (auto served =
          serve(health_server, "health", options.health_address,
                [this](unsigned) { return std::make_unique<ops::HealthHandler>([this] { return not_ready(); }); });
      !served) {
    return served;
  }
  const ops::MetricSources sources{registry, std::make_shared<EngineCollector>(engines),
                                   std::make_shared<ops::ProcessCollector>()};
  return serve(metrics_server, "metrics", options.metrics_address,
               [this, sources](unsigned) { return std::make_unique<ops::MetricsHandler>(nullptr, sources, worker); });
}

Result<void> Shard::Impl::serve(std::unique_ptr<http::Server>& server, const char* name, const std::string& address,
                                const http::Server::HandlerFactory& factory) {
  if (!is_address(address)) {
    return {};
  }
  server = std::make_unique<http::Server>(http::ServerOptions{.name = name, .address = address, .limits = kSmallLimits},
                                          factory, log.named(name));
  return server->start();
}

Result<void> Shard::Impl::run() {
  if (engines.empty()) {
    return fail(ErrorCode::kInvalid, "add() a controller before run()");
  }
  if (auto served = serve(); !served) {
    return served;
  }
  state = State::kWaiting;
  log.info("waiting for the Lease", {{"object", options.lease_namespace + "/" + options.name}});
  lease->start();
  const bool asked = wait_for_end();
  state = State::kStopping;
  return end(!asked);
}

// Ends in order. `was_lost`: the Lease is not valid any more.
Result<void> Shard::Impl::end(bool lease_was_lost) {
  log.info("stopping", {{"reason", lease_was_lost ? "the Lease was lost" : "asked to"}});
  for (const auto& engine : engines) {
    engine->stop();
  }
  if (!wait_until_idle(options.shutdown_grace)) {
    log.error("a reconciliation does not end: the process ends at once, and its Lease expires by itself");
    std::_Exit(1);
  }
  if (lease_was_lost) {
    lease->abandon();
    return fail(ErrorCode::kCancelled, "the Lease " + options.lease_namespace + "/" + options.name +
                                           " was lost: the process has to be started anew");
  }
  lease->stop();
  return {};
}

bool Shard::Impl::wait_until_idle(milliseconds timeout) {
  const auto deadline = steady_clock::now() + timeout;
  return std::ranges::all_of(engines, [deadline](const auto& engine) {
    return engine->wait_until_idle(std::max<std::chrono::nanoseconds>(deadline - steady_clock::now(), milliseconds(0)));
  });
}

// On the Lease's thread.
void Shard::Impl::acquired() {
  State waiting = State::kWaiting;
  if (!state.compare_exchange_strong(waiting, State::kWorking)) {
    return;  // it ends already: a Lease that was lost is not worked for again
  }
  master_status.Set(1);
  if (lease->is_seen() && !lease->begins_anew()) {
    begin(milliseconds(0));
  } else {
    unseen_since = clock.steady();
  }
}

// On the Lease's thread. The sharder moves objects of this name like orphans until it has seen who holds the Lease;
// what it has sent by then is carried out soon (decision 9).
void Shard::Impl::begin_if_seen() {
  if (unseen_since && !was_lost) {
    if (lease->is_seen()) {
      begin(std::min<milliseconds>(options.retry_period, kMoveLands));
    } else if (clock.steady() >= *unseen_since + std::max<milliseconds>(options.lease_duration, kSharderLease)) {
      log.warn("no sharder has seen this shard's Lease, its objects are reconciled all the same");
      begin(milliseconds(0));
    }
  }
}

void Shard::Impl::begin(milliseconds pause) {
  unseen_since.reset();
  for (const auto& engine : engines) {
    engine->start(pause);
  }
}

// On the Lease's thread.
void Shard::Impl::lost() {
  master_status.Set(0);
  for (const auto& engine : engines) {
    engine->stop();
  }
  was_lost = true;
  wake();
}

void Shard::Impl::renewed(BootTime valid_until) {
  begin_if_seen();
  if (options.observer) {
    const WallTime now = clock.wall();
    const auto left = std::max<std::chrono::nanoseconds>(valid_until - std::min(clock.boot(), valid_until),
                                                         std::chrono::nanoseconds(0));
    options.observer->on_lease(now + std::chrono::duration_cast<std::chrono::microseconds>(left), now);
  }
}

void Shard::Impl::wake() {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(wakeup, &one, sizeof one));
}

// True: a signal or stop(); false: the Lease was lost.
bool Shard::Impl::wait_for_end() {
  const int signal_file = ::signalfd(-1, &signals, SFD_CLOEXEC);
  std::array<pollfd, 2> files{
      {{.fd = signal_file, .events = POLLIN, .revents = 0}, {.fd = wakeup, .events = POLLIN, .revents = 0}}};
  while (::poll(files.data(), files.size(), -1) < 0 && errno == EINTR) {
  }
  if ((files[0].revents & POLLIN) != 0) {
    signalfd_siginfo signal{};
    static_cast<void>(!::read(signal_file, &signal, sizeof signal));
    pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);  // a second one ends the process at once
  }
  ::close(signal_file);
  return !was_lost;
}

std::optional<std::string> Shard::Impl::not_ready() const {
  switch (state.load()) {
    case State::kNew:
    case State::kWaiting:
      return "waiting for the Lease";
    case State::kWorking:
      break;
    case State::kStopping:
      return "shutting down";
  }
  const bool synced = std::ranges::all_of(engines, [](const auto& engine) { return engine->status().synced; });
  return synced ? std::nullopt : std::optional<std::string>("the caches are not complete yet");
}

Result<std::unique_ptr<Shard>> Shard::create(Options options, Logger log) {
  const auto cluster = complete(options);
  if (!cluster) {
    return std::unexpected(cluster.error());
  }
  auto impl = std::make_unique<Impl>(std::move(options), std::move(log));
  if (const auto connected = impl->connect(*cluster); !connected) {
    return std::unexpected(connected.error());
  }
  return std::unique_ptr<Shard>(new Shard(std::move(impl)));
}

Shard::Shard(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Shard::~Shard() = default;

Result<void> Shard::add(ControllerOptions controller) {
  if (controller.main.plural.empty() || !controller.reconcile) {
    return fail(ErrorCode::kInvalid, "a controller needs a main resource and a reconcile function");
  }
  if (controller.name.empty()) {
    controller.name = controller.main.plural;
  }
  controller.workers = std::max(controller.workers, 1U);
  if (std::ranges::any_of(impl_->engines, [&](const auto& engine) { return engine->name() == controller.name; })) {
    return fail(ErrorCode::kInvalid, "there is a controller " + controller.name + " already");
  }
  impl_->engines.push_back(std::make_unique<Engine>(impl_->tools, std::move(controller), impl_->log));
  return {};
}

Result<void> Shard::run() {
  return impl_->run();
}

void Shard::stop() {
  impl_->wake();
}

bool Shard::valid() const {
  return impl_->lease->valid();
}

BootTime Shard::valid_until() const {
  return impl_->lease->valid_until();
}

const std::string& Shard::name() const {
  return impl_->options.name;
}

std::uint16_t Shard::metrics_port() const {
  return impl_->metrics_server ? impl_->metrics_server->port() : 0;
}

std::uint16_t Shard::health_port() const {
  return impl_->health_server ? impl_->health_server->port() : 0;
}

}  // namespace sharder::shard
