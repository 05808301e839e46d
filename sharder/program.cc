#include "sharder/program.h"

#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "base/base64.h"
#include "base/clock.h"
#include "base/task_loop.h"
#include "base/wait_group.h"
#include "certs/certificate_files.h"
#include "certs/certificate_keeper.h"
#include "certs/certificate_secret.h"
#include "certs/client_ca_file.h"
#include "certs/self_signed.h"
#include "certs/webhook_trust.h"
#include "controllerring/controller.h"
#include "http/server.h"
#include "kube/access/config.h"
#include "kube/client/client.h"
#include "kube/client/discovery.h"
#include "kube/election/leader_election.h"
#include "kube/events/events.h"
#include "membership/membership.h"
#include "ops/access_reviewer.h"
#include "ops/health_handler.h"
#include "ops/metrics_handler.h"
#include "ops/process_collector.h"
#include "ops/status_pages.h"
#include "rebalancer/rebalancer.h"
#include "sharder/assignment_source.h"
#include "sharder/cpu_quota.h"
#include "sharder/identity.h"
#include "sharder/part_options.h"
#include "sharder/ring_collector.h"
#include "sharder/status_source.h"
#include "sharder/version.h"
#include "webhook/handler.h"
#include "webhook/metrics.h"

namespace sharder::app {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::string_view kMetricsCertificateFolder = "/tmp/k8s-metrics-server/serving-certs";

// For the ports of probes and scrapes: their requests have no body and come from few clients.
constexpr http::Limits kSmallLimits{
    .max_body_bytes = 4096, .max_connections = 64, .max_buffered_bytes = std::size_t{1024} * 1024};

prometheus::Gauge& master_status_gauge(prometheus::Registry& registry, const std::string& lease_name) {
  return prometheus::BuildGauge()
      .Name("leader_election_master_status")
      .Help("1 while this replica leads, else 0.")
      .Register(registry)
      .Add({{"name", lease_name}});
}

void export_build(prometheus::Registry& registry) {
  prometheus::BuildGauge()
      .Name("controller_sharding_build_info")
      .Help("1, with the version and the commit of this program.")
      .Register(registry)
      .Add({{"version", version()}, {"commit", kCommit}})
      .Set(1);
}

}  // namespace

// The members are in the order of their dependencies: a part is built after the parts that it uses, and destroyed
// before them.
struct Program::Impl {
  Impl(Config configuration, kube::ClusterConfig cluster, Logger logger);
  ~Impl();

  // The steps after construction, in this order.
  Result<void> make_clients();
  void make_parts();
  Result<void> load_client_ca();
  Result<void> load_certificates();
  void make_certificate_secret();

  Result<void> start();
  Result<void> start_health();
  Result<void> start_webhook();
  Result<void> start_metrics();
  Result<void> start_status();
  void start_election();

  bool stop();
  void stop_leading(steady_clock::time_point deadline);

  const Published<TlsIdentity>& webhook_identity() const;
  std::optional<controllerring::Condition> check_trust(const std::string& roots_pem, const std::string& host) const;
  std::optional<std::string> not_ready() const;
  ops::Status status() const;
  void set_leading(bool leading);

  const Config config;
  const kube::ClusterConfig cluster;
  const std::string identity = make_identity();
  Logger log;
  const SystemClock clock;
  const std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  prometheus::Gauge& master_status;
  std::atomic<bool> stopping = false;
  WaitGroup leader_work;  // work of the leader that is under way; the leadership is kept until it ends

  // The loops outlive the clients, whose callbacks post to them.
  TaskLoop worker;   // gathers metrics
  TaskLoop control;  // membership and the leader's duties

  std::unique_ptr<kube::Client> api;
  std::unique_ptr<kube::Client> election_api;  // of its own, so that nothing delays a renewal

  std::unique_ptr<kube::EventRecorder> events;
  std::unique_ptr<kube::EventRecorder> election_events;
  std::unique_ptr<kube::Discovery> discovery;
  std::unique_ptr<membership::Membership> membership;
  std::unique_ptr<controllerring::Controller> controller_rings;
  std::unique_ptr<kube::EventRecorder> move_events;
  std::unique_ptr<rebalancer::Rebalancer> rebalancer;
  std::unique_ptr<ops::AccessReviewer> reviewer;

  webhook::WebhookMetrics webhook_metrics;
  std::unique_ptr<certs::CertificateFiles> webhook_files;    // one of them,
  std::unique_ptr<certs::CertificateSecret> webhook_secret;  // as webhook.certificates says
  std::unique_ptr<certs::CertificateKeeper> certificate_keeper;
  std::unique_ptr<certs::ClientCaFile> webhook_client_ca;  // null: clients show no certificate
  std::optional<certs::CertificateFiles> metrics_files;
  Published<TlsIdentity> metrics_self_signed;

  std::unique_ptr<http::Server> health_server;
  std::shared_ptr<const ops::StatusPages> status_pages;
  std::unique_ptr<http::Server> metrics_server;
  std::unique_ptr<http::Server> status_server;
  std::unique_ptr<http::Server> webhook_server;
  std::unique_ptr<kube::LeaderElection> election;
};

Program::Impl::Impl(Config configuration, kube::ClusterConfig cluster_config, Logger logger)
    : config(std::move(configuration)),
      cluster(std::move(cluster_config)),
      log(std::move(logger)),
      master_status(master_status_gauge(*registry, config.leader_election.resource_name)),
      worker("metrics", log),
      control("control", log),
      webhook_metrics(*registry) {
  export_build(*registry);
}

Program::Impl::~Impl() {
  election.reset();
  webhook_server.reset();
  metrics_server.reset();
  status_server.reset();
  // membership and the controllers of the rings are destroyed when the loop on which they run has stopped.
  control.stop();
  worker.stop();
}

Result<void> Program::Impl::make_clients() {
  const kube::ClientOptions options{.qps = config.client_connection.qps, .burst = config.client_connection.burst};
  auto client = kube::Client::create(cluster, options, registry.get(), log.named("kube"));
  if (!client) {
    return std::unexpected(std::move(client).error());
  }
  api = std::move(*client);
  if (config.leader_election.enabled) {
    client = kube::Client::create(cluster, {.thread_name = "api-election"}, registry.get(), log.named("election"));
    if (!client) {
      return std::unexpected(std::move(client).error());
    }
    election_api = std::move(*client);
  }
  return {};
}

void Program::Impl::make_parts() {
  events = std::make_unique<kube::EventRecorder>(*api, clock, "controllerring-controller", log.named("events"));
  discovery = std::make_unique<kube::Discovery>(*api, log.named("discovery"));
  membership = std::make_unique<membership::Membership>(control, *api, clock, registry.get(), log.named("membership"),
                                                        leader_work);
  controller_rings = std::make_unique<controllerring::Controller>(
      control, *api, *discovery, *events, clock, membership->snapshots(),
      controllerring::ControllerOptions{.webhook = config.webhook, .sync_period = config.sync_period}, registry.get(),
      log.named("controllerring"), leader_work);
  controller_rings->report_reachability(
      [this](const std::string& roots_pem, const std::string& host) { return check_trust(roots_pem, host); });
  membership->add_listener(*controller_rings);
  move_events = std::make_unique<kube::EventRecorder>(*api, clock, "sharder", log.named("events"));
  rebalancer = std::make_unique<rebalancer::Rebalancer>(
      control, *api, *discovery, *move_events, clock,
      rebalancer::Rebalancer::Inputs{.ring_sets = membership->ring_sets(), .snapshots = membership->snapshots()},
      rebalancer::Settings{.sync_period = config.sync_period,
                           .concurrent_moves = static_cast<std::size_t>(config.concurrent_moves),
                           .namespace_selector = config.webhook.namespace_selector},
      [this](const std::string& ring, const std::string& what, const std::optional<Error>& trouble) {
        controller_rings->on_trouble(ring, what, trouble);
      },
      registry.get(), log.named("rebalancer"), leader_work);
  membership->add_listener(*rebalancer);
  controller_rings->report_assignment([this](const std::string& ring) { return unassigned(rebalancer->report(ring)); });
  reviewer = std::make_unique<ops::AccessReviewer>(*api, clock, ops::AccessReviewerOptions{}, log.named("ops"));
  status_pages = std::make_shared<const ops::StatusPages>([this] { return status(); }, control, clock);
}

Result<void> Program::Impl::load_client_ca() {
  if (config.webhook_server.client_ca_file.empty()) {
    return {};
  }
  webhook_client_ca = std::make_unique<certs::ClientCaFile>(
      certs::ClientCaFileOptions{.file = config.webhook_server.client_ca_file}, *registry, log.named("certs"));
  if (auto loaded = webhook_client_ca->start(); !loaded) {
    return fail("webhook.server.clientCAFile", std::move(loaded).error());
  }
  return {};
}

Result<void> Program::Impl::load_certificates() {
  if (config.webhook_server.certificates == CertificateSource::kFiles) {
    webhook_files = std::make_unique<certs::CertificateFiles>(webhook_certificate(config.webhook_server), clock,
                                                              *registry, log.named("certs"));
    if (auto loaded = webhook_files->start(); !loaded) {
      return fail("webhook certificate", std::move(loaded).error());
    }
  } else {
    make_certificate_secret();
  }
  if (!config.metrics_bind_address) {
    return {};
  }
  const certs::CertificateFilesOptions files{.server = "metrics", .folder = kMetricsCertificateFolder};
  if (certs::CertificateFiles::present(files)) {
    metrics_files.emplace(files, clock, *registry, log.named("certs"));
    if (auto loaded = metrics_files->start(); !loaded) {
      return fail("metrics certificate", std::move(loaded).error());
    }
    return {};
  }
  auto own = certs::self_signed_identity(clock);
  if (!own) {
    return fail("metrics certificate", std::move(own).error());
  }
  metrics_self_signed.publish(std::make_shared<const TlsIdentity>(std::move(*own)));
  return {};
}

void Program::Impl::make_certificate_secret() {
  certs::CertificateSecretOptions options = secret_options(config);
  options.before = certs::CertificateFiles::read_all(webhook_certificate(config.webhook_server), log);
  webhook_secret =
      std::make_unique<certs::CertificateSecret>(control, *api, clock, options, *registry, log.named("certs"));
  const bool makes = config.webhook_server.certificates == CertificateSource::kSelfManaged;
  if (makes || config.webhook.ca_bundle_is_ours) {
    certificate_keeper = std::make_unique<certs::CertificateKeeper>(
        control, *api, clock, *webhook_secret,
        certs::CertificateKeeperOptions{
            .secret = secret_options(config),
            .makes = makes ? std::optional(webhook_names(config.webhook.client_config)) : std::nullopt,
            .further_roots = decode_base64(config.webhook.client_config.ca_bundle).value_or("")},
        [this](const std::string& bundle) { controller_rings->set_ca_bundle(bundle); }, log.named("certs"),
        leader_work);
  }
}

Result<void> Program::Impl::start() {
  for (const auto& step : {&Impl::start_health, &Impl::start_webhook, &Impl::start_metrics, &Impl::start_status}) {
    if (auto started = (this->*step)(); !started) {
      return started;
    }
  }
  if (webhook_secret) {
    webhook_secret->start();
  }
  membership->start();
  start_election();
  return {};
}

Result<void> Program::Impl::start_health() {
  if (!config.health_bind_address) {
    return {};
  }
  health_server = std::make_unique<http::Server>(
      http::ServerOptions{.name = "health", .address = *config.health_bind_address, .limits = kSmallLimits},
      [this](unsigned) { return std::make_unique<ops::HealthHandler>([this] { return not_ready(); }); },
      log.named("health"));
  return health_server->start();
}

Result<void> Program::Impl::start_webhook() {
  webhook_server = std::make_unique<http::Server>(
      http::ServerOptions{.name = "webhook",
                          .address = config.webhook_server.bind_address,
                          .loops = usable_cpus(),
                          .tls = &webhook_identity(),
                          .client_ca = webhook_client_ca ? &webhook_client_ca->authorities() : nullptr,
                          .on_refused_client = [this] { webhook_metrics.count_refused_client(); }},
      [this](unsigned) {
        return std::make_unique<webhook::WebhookHandler>(membership->ring_sets(), webhook_metrics, clock,
                                                         log.named("webhook"));
      },
      log.named("webhook"));
  return webhook_server->start();
}

Result<void> Program::Impl::start_metrics() {
  if (!config.metrics_bind_address) {
    return {};
  }
  const ops::MetricSources sources{registry,
                                   std::make_shared<RingCollector>(membership->snapshots(), membership->ring_sets()),
                                   std::make_shared<ops::ProcessCollector>()};
  metrics_server = std::make_unique<http::Server>(
      http::ServerOptions{.name = "metrics",
                          .address = *config.metrics_bind_address,
                          .limits = kSmallLimits,
                          .tls = metrics_files ? &metrics_files->identity() : &metrics_self_signed},
      [this, sources](unsigned) {
        return std::make_unique<ops::MetricsHandler>(reviewer.get(), sources, worker, status_pages);
      },
      log.named("metrics"));
  return metrics_server->start();
}

Result<void> Program::Impl::start_status() {
  if (!config.status_bind_address) {
    return {};
  }
  status_server = std::make_unique<http::Server>(
      http::ServerOptions{.name = "status", .address = *config.status_bind_address, .limits = kSmallLimits},
      [this](unsigned) { return std::make_unique<ops::StatusHandler>(status_pages); }, log.named("status"));
  return status_server->start();
}

void Program::Impl::start_election() {
  if (!config.leader_election.enabled) {
    set_leading(true);
    return;
  }
  election_events = std::make_unique<kube::EventRecorder>(*election_api, clock, identity, log.named("events"));
  election = std::make_unique<kube::LeaderElection>(
      *election_api, clock, election_options(config.leader_election, identity),
      kube::LeaderElection::Callbacks{.on_elected = [this] { set_leading(true); },
                                      .on_lost = [this] { set_leading(false); },
                                      .on_event =
                                          [this](const kube::ObjectReference& lease, const std::string& message) {
                                            election_events->record(lease, kube::EventType::kNormal, "LeaderElection",
                                                                    message);
                                          }},
      log.named("election"));
  election->start();
}

void Program::Impl::set_leading(bool leading) {
  master_status.Set(leading ? 1 : 0);
  membership->set_leading(leading);
  if (certificate_keeper) {
    certificate_keeper->set_leading(leading);
  }
}

const Published<TlsIdentity>& Program::Impl::webhook_identity() const {
  return webhook_secret ? webhook_secret->identity() : webhook_files->identity();
}

// A controllerring::TrustCheck, on the control loop.
std::optional<controllerring::Condition> Program::Impl::check_trust(const std::string& roots_pem,
                                                                    const std::string& host) const {
  const auto shown = webhook_identity().get();
  if (!shown) {
    return controllerring::Condition{.status = "Unknown",
                                     .reason = "NoCertificate",
                                     .message = "the leader has no certificate yet, its /readyz says why"};
  }
  return not_reachable(certs::distrust(shown->certificate_chain_pem, roots_pem, host, clock.wall()));
}

std::optional<std::string> Program::Impl::not_ready() const {
  if (stopping.load(std::memory_order_relaxed)) {
    return "shutting down";
  }
  auto reason = membership->not_ready();
  return reason || !webhook_secret ? reason : webhook_secret->not_ready();
}

// On the control loop.
ops::Status Program::Impl::status() const {
  const auto snapshot = membership->snapshots().get();
  const auto ring_set = membership->ring_sets().get();
  const auto shown = webhook_identity().get();
  return {.replica = identity,
          .version = version(),
          .leads = master_status.Value() == 1,
          .not_ready = not_ready().value_or(""),
          .certificate_expires = shown ? std::optional(shown->not_after) : std::nullopt,
          .rings = ring_lines(snapshot.get(), ring_set.get(), rebalancer->report())};
}

bool Program::Impl::stop() {
  const steady_clock::time_point accept_until = steady_clock::now() + config.shutdown_delay;
  stopping.store(true, std::memory_order_relaxed);
  webhook_server->begin_drain();
  {
    // At the same time: neither must wait for the other, the release of the leadership (which takes long during an
    // outage of the API server) and the time in which endpoints forget this replica.
    const std::jthread leadership([this, accept_until] { stop_leading(accept_until); });
    std::this_thread::sleep_until(accept_until);
  }
  const auto grace = config.graceful_shutdown;
  const bool finished =
      webhook_server->stop(grace ? std::optional(duration_cast<milliseconds>(*grace)) : std::optional<milliseconds>());
  log.info("stopped", {{"finished", finished}});
  return finished;
}

void Program::Impl::stop_leading(steady_clock::time_point deadline) {
  if (!election) {
    set_leading(false);
    return;
  }
  // A request that is not answered by then does no harm, whoever leads: its resourceVersion is its precondition.
  const auto until = std::max(deadline, steady_clock::now() + std::chrono::seconds(2));
  election->stop([this, until] { leader_work.wait_for(until - steady_clock::now()); });
}

Program::Program(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Program::~Program() = default;

Result<std::unique_ptr<Program>> Program::create(const Config& config, const std::string& kubeconfig, Logger log) {
  auto cluster = kube::load_config({.kubeconfig_flag = kubeconfig});
  if (!cluster) {
    return std::unexpected(std::move(cluster).error());
  }
  log.info("api server", {{"server", cluster->server}, {"source", cluster->source}});
  auto impl = std::make_unique<Impl>(config, std::move(*cluster), std::move(log));
  if (auto made = impl->make_clients(); !made) {
    return std::unexpected(std::move(made).error());
  }
  impl->make_parts();
  for (const auto& load : {&Impl::load_client_ca, &Impl::load_certificates}) {
    if (auto loaded = (impl.get()->*load)(); !loaded) {
      return std::unexpected(std::move(loaded).error());
    }
  }
  return std::unique_ptr<Program>(new Program(std::move(impl)));
}

Result<void> Program::start() {
  return impl_->start();
}

bool Program::stop() {
  return impl_->stop();
}

}  // namespace sharder::app
