#include "shard/engine.h"

#include "shard/engine_core.h"

namespace sharder::shard {

Engine::Engine(std::shared_ptr<const EngineTools> tools, ControllerOptions options, const Logger& log)
    : core_(std::make_shared<Core>(std::move(tools), std::move(options), log)) {}

Engine::~Engine() {
  stop();
  core_->join();
}

void Engine::start(std::chrono::nanoseconds pause) {
  core_->start(pause);
}

void Engine::stop() {
  core_->stop();
}

bool Engine::wait_until_idle(std::chrono::nanoseconds timeout) {
  return core_->wait_until_idle(timeout);
}

const std::string& Engine::name() const {
  return core_->name();
}

EngineStatus Engine::status() const {
  return core_->status();
}

}  // namespace sharder::shard
