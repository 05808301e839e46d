#include "http/poller.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <utility>

namespace sharder::http {

namespace asio = boost::asio;

struct Poller::Impl {
  asio::io_context context{1};  // one thread runs it
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(context);
};

Poller::Poller() : impl_(std::make_unique<Impl>()) {}
Poller::~Poller() = default;

void Poller::run() {
  impl_->context.run();
}

void Poller::run_ready() {
  impl_->context.restart();
  impl_->context.poll();
}

void Poller::stop() {
  impl_->context.stop();
}

void Poller::post(Task task) {
  asio::post(impl_->context, std::move(task));
}

struct Registration::Impl {
  explicit Impl(asio::io_context& context) : descriptor(context) {}
  asio::posix::stream_descriptor descriptor;
  unsigned last_wait = 0;  // a wait that was replaced may have succeeded already
  bool waiting = false;
};

Registration::Registration(Poller& loop, FileDescriptor fd) : impl_(std::make_unique<Impl>(loop.impl().context)) {
  impl_->descriptor.assign(fd.get());
  fd.release();
}

Registration::~Registration() = default;

int Registration::fd() const {
  return impl_->descriptor.is_open() ? impl_->descriptor.native_handle() : -1;
}

void Registration::wait(Direction direction, std::shared_ptr<ReadySink> sink) {
  if (impl_->waiting) {
    impl_->descriptor.cancel();
  }
  impl_->waiting = true;
  impl_->descriptor.async_wait(
      direction == Direction::kRead ? asio::posix::descriptor_base::wait_read
                                    : asio::posix::descriptor_base::wait_write,
      [sink = std::move(sink), impl = impl_.get(), wait = ++impl_->last_wait](const boost::system::error_code& error) {
        if (error != asio::error::operation_aborted && wait == impl->last_wait && impl->waiting) {
          impl->waiting = false;
          sink->on_ready();
        }
      });
}

void Registration::close() {
  impl_->waiting = false;
  boost::system::error_code ignored;
  impl_->descriptor.close(ignored);  // NOLINT(bugprone-unused-return-value): it says the same as `ignored`
}

struct Deadline::Impl {
  Impl(asio::io_context& context, std::function<void()> callback) : timer(context), on_due(std::move(callback)) {}
  asio::steady_timer timer;
  std::function<void()> on_due;
};

Deadline::Deadline(Poller& loop, std::function<void()> on_due)
    : impl_(std::make_unique<Impl>(loop.impl().context, std::move(on_due))) {}

Deadline::~Deadline() = default;

void Deadline::set(SteadyTime due) {
  impl_->timer.expires_at(due);
  impl_->timer.async_wait([impl = impl_.get()](const boost::system::error_code& error) {
    if (!error) {
      impl->on_due();
    }
  });
}

}  // namespace sharder::http
