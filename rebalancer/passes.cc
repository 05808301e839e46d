#include "rebalancer/passes.h"

#include <utility>

#include "base/backoff.h"
#include "kube/client/failure_class.h"
#include "kube/client/resource.h"

namespace sharder::rebalancer {

namespace {

constexpr BackoffPolicy kTransient{};
// Tries of one page, and time to wait for room, before the other resources have their turn.
constexpr int kTries = 4;
constexpr std::chrono::seconds kRoomPatience{5};
constexpr std::chrono::seconds kPageTimeout{30};

}  // namespace

Passes::Passes(std::shared_ptr<Tools> tools, const RingView& view, OnIdle on_idle)
    : tools_(std::move(tools)), view_(view), on_idle_(std::move(on_idle)), timer_(tools_->control) {}

void Passes::want(const Scope& scope, std::chrono::nanoseconds pause) {
  plan_.want(scope, tools_->clock.steady() + pause);
  if (!plan_.running()) {
    advance();
  }
}

void Passes::resume() {
  if (waits_for_room_ && running().has_room()) {
    waits_for_room_ = false;
    timer_.cancel();
    request_page();
  }
}

void Passes::wait_for_room() {
  waits_for_room_ = true;
  carried_out_ = running().patches().carried_out();
  wait(kRoomPatience, &Passes::no_room_came);
}

// While moves of this resource are carried out, however slowly, its pass keeps its place.
void Passes::no_room_came() {
  const SteadyTime now = tools_->clock.steady();
  if (running().patches().carried_out() != carried_out_ || !plan_.other_is_due(now)) {
    wait_for_room();
    return;
  }
  waits_for_room_ = false;
  plan_.give_way(now + kTransient.max);
  advance();
}

// Begins the next scope, or waits until one is due.
void Passes::advance() {
  timer_.cancel();
  const SteadyTime now = tools_->clock.steady();
  if (!plan_.begin(now)) {
    if (const auto due = plan_.next_due()) {
      wait(*due - now, &Passes::advance);
    }
    if (std::exchange(ended_, false)) {
      on_idle_(std::exchange(objects_, 0));
    }
    return;
  }
  began_ = now;
  const Scope& scope = *plan_.running();
  if (scope.object_namespace.empty()) {
    running().pass_begins();
  }
  namespaces_ = scope.object_namespace.empty() ? view_.namespaces_to_list(running())
                                               : std::vector<std::string>{scope.object_namespace};
  page_size_ = kPageSize;
  failures_ = 0;
  crowded_ = false;
  next_list();
}

// Begins the list of the next namespace, or ends the scope.
void Passes::next_list() {
  continue_token_.clear();
  if (namespaces_.empty()) {
    end_scope();
  } else {
    request_page();
  }
}

void Passes::wait(std::chrono::nanoseconds pause, void (Passes::*then)()) {
  timer_.set(pause, [this, then] { (this->*then)(); });
}

void Passes::request_page() {
  if (!running().has_room()) {
    wait_for_room();
    return;
  }
  kube::Request request{.target = kube::path(running().resource(), namespaces_.back(), {}, {},
                                             {{"limit", std::to_string(page_size_)}, {"continue", continue_token_}}),
                        .accept = std::string(kube::kCompactMetadataList),
                        .timeout = kPageTimeout,
                        .lane = kube::Lane::kList};
  tools_->api.send(std::move(request), lifetime_.bind_on(tools_->control, [this](Result<kube::Response> answer) {
    page_came(std::move(answer));
  }));
}

void Passes::page_came(Result<kube::Response> answer) {
  if (answer) {
    read_page(std::move(answer->body));
  } else {
    page_failed(answer.error());
  }
}

void Passes::read_page(std::string body) {
  Source& source = running();
  auto continue_token = decoder_.decode_list(body, [this, &source](const Result<kube::ObjectMeta>& object) {
    if (!object) {
      tools_->log.warn("ignoring an object that cannot be decoded", {{"error", object.error().message}});
      return;
    }
    ++objects_;
    crowded_ = !source.consider(*object) || crowded_;
  });
  source.page_ended();
  if (!continue_token) {
    page_failed(continue_token.error());
    return;
  }
  failures_ = 0;
  continue_token_ = *std::move(continue_token);
  if (continue_token_.empty()) {
    namespaces_.pop_back();
    next_list();
  } else {
    request_page();
  }
}

void Passes::end_scope() {
  const Scope scope = *plan_.running();
  Source& source = running();
  plan_.end();
  ended_ = true;
  tools_->passes.ended(kube::ReconcileMetrics::kRequeueAfter, tools_->clock.steady() - began_);
  if (source.pass_retries().succeeded(tools_->clock.steady())) {
    source.lists_trouble(std::nullopt);
  }
  if (scope.object_namespace.empty()) {
    source.pass_ended();
  }
  if (crowded_) {
    plan_.want(scope, tools_->clock.steady() + kTransient.max);
  }
  advance();
}

void Passes::page_failed(const Error& error) {
  const bool long_answer = error.code == ErrorCode::kTooLarge && error.http_status == 0;
  if (error.code == ErrorCode::kGone) {
    continue_token_ = error.continue_token;
  } else if (long_answer && page_size_ > 1) {
    page_size_ /= 2;
    request_page();
    return;
  } else if (kube::is_permanent(error) || error.code == ErrorCode::kTimeout || failures_ + 1 >= kTries ||
             running().pass_retries().lasts()) {
    give_way(error);
    return;
  }
  tools_->log.debug("page of a pass failed, trying again", {{"error", error.message}});
  wait(backoff_pause(kTransient, failures_++, random_), &Passes::request_page);
}

// It may take long: the other resources have their turn first.
void Passes::give_way(const Error& error) {
  Source& source = running();
  const SteadyTime now = tools_->clock.steady();
  tools_->passes.ended(kube::ReconcileMetrics::kError, now - began_);
  const kube::Retries::Failure failure = source.pass_retries().failed(error, now);
  plan_.give_way(now + failure.pause);
  if (failure.is_news) {
    source.lists_trouble(error);
  }
  advance();
}

}  // namespace sharder::rebalancer
