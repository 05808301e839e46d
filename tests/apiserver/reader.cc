#include "tests/apiserver/reader.h"

#include <algorithm>
#include <random>

namespace sharder::apiserver {

namespace {

Status too_large_version(std::uint64_t asked, std::uint64_t now) {
  Status status = failure(
      504, "Timeout: Too large resource version: " + std::to_string(asked) + ", current: " + std::to_string(now));
  status.details = {{"causes", {{{"reason", "ResourceVersionTooLarge"}, {"message", "Too large resource version"}}}}};
  status.retry_after_seconds = 1;
  return status;
}

Status too_old_version(std::uint64_t asked) {
  return expired("The resourceVersion for the provided list is too old: " + std::to_string(asked));
}

// The version that is gone can be left behind: the token of this answer goes on, but without consistency.
Status expired_token(ContinueToken token) {
  Status status = expired(
      "The provided continue parameter is too old to display a consistent list result. Start a new list without it, or "
      "use the continue token in this response for the rest of an inconsistent one.");
  token.version.reset();
  token.remaining = 0;
  status.continue_token = encode(token);
  return status;
}

Outcome<Database::PageQuery> page_query(const ListOptions& options, const Filter& filter, std::uint64_t now) {
  Database::PageQuery query{.prefix = filter.prefix,
                            .limit = options.limit,
                            .matches = [&filter](const Object& object) { return filter.matches(object); },
                            .count_rest = filter.labels.empty() && filter.fields.empty()};
  if (!options.continue_token.empty()) {
    const auto token = decode_token(options.continue_token);
    if (!token) {
      return refuse(failure(400, "continue key is not valid"));
    }
    query.from = token->from;
    query.version = token->version;
    if (!query.from.starts_with(query.prefix)) {
      return refuse(failure(400, "continue key is not valid: it belongs to another list"));
    }
  } else if (options.version.value_or(0) != 0) {
    if (*options.version > now) {
      return refuse(too_large_version(*options.version, now));
    }
    // Without a match rule, a page of a version is that version's: so do the API servers with a limit.
    if (options.version_match == "Exact") {
      query.version = options.version;
    }
  }
  return query;
}

std::string render(const Database::Page& page, const ListOptions& options, const Filter& filter,
                   const Resource& resource, Form form) {
  const bool partial = form == Form::kMetadata;
  std::string text = R"({"kind":")" + (partial ? "PartialObjectMetadataList" : resource.list_kind_name()) +
                     R"(","apiVersion":")" + (partial ? "meta.k8s.io/v1" : resource.api_version()) +
                     R"(","metadata":{"resourceVersion":")" + std::to_string(page.version) + '"';
  if (!page.next.empty()) {
    ContinueToken token{.version = page.version, .from = page.next};
    const auto asked = decode_token(options.continue_token);
    if (asked && !asked->version) {
      token.version.reset();
    }
    text += R"(,"continue":")" + encode(token) + '"';
    if (filter.labels.empty() && filter.fields.empty()) {
      text += R"(,"remainingItemCount":)" + std::to_string(page.remaining);
    }
  }
  text += R"(},"items":[)";
  bool first = true;
  for (const ObjectPtr& object : page.items) {
    if (!first) {
      text += ',';
    }
    first = false;
    text += object->text(resource, partial ? Form::kMetadata : Form::kListItem);
  }
  return text += "]}";
}

std::chrono::seconds watch_time(const ListOptions& options) {
  if (options.timeout_seconds && *options.timeout_seconds > 0) {
    return std::chrono::seconds(std::min<std::uint64_t>(*options.timeout_seconds, 86'400));
  }
  // Half an hour and up to as much again, so that not all end together.
  thread_local std::minstd_rand random(std::random_device{}());
  return std::chrono::seconds(1800 + random() % 1800);
}

}  // namespace

Outcome<Filter> filter_of(const Route& route, const ListOptions& options) {
  Filter filter;
  auto labels = LabelSelector::parse(options.label_selector);
  if (!labels) {
    return refuse(labels.error());
  }
  auto fields = FieldSelector::parse(options.field_selector);
  if (!fields) {
    return refuse(fields.error());
  }
  if (!route.object_namespace.empty()) {
    // One object is found without a look at the others.
    filter.prefix = Bucket::key(route.object_namespace, fields->name().value_or(""));
  }
  filter.labels = std::move(*labels);
  filter.fields = std::move(*fields);
  return filter;
}

Outcome<std::string> Reader::get(const Request& request, const Route& route, const Resource& resource) const {
  const auto form = accepted_form(request.accept, false);
  if (!form) {
    return refuse(form.error());
  }
  const ObjectPtr object = database_.get(resource.bucket(), Bucket::key(route.object_namespace, route.name));
  if (!object) {
    return refuse(not_found(resource, route.name));
  }
  return object->text(resource, *form);
}

Outcome<std::string> Reader::list(const Request& request, const Route& route, const Resource& resource) const {
  const auto form = accepted_form(request.accept, true);
  if (!form) {
    return refuse(form.error());
  }
  const auto options = list_options(request, resource, false, options_.streaming_lists);
  if (!options) {
    return refuse(options.error());
  }
  const auto filter = filter_of(route, *options);
  if (!filter) {
    return refuse(filter.error());
  }
  const auto query = page_query(*options, *filter, database_.version());
  if (!query) {
    return refuse(query.error());
  }
  const auto page = database_.page(resource.bucket(), *query);
  if (!page) {
    if (options->continue_token.empty()) {
      return refuse(too_old_version(*query->version));
    }
    return refuse(expired_token(*decode_token(options->continue_token)));
  }
  return render(*page, *options, *filter, resource, *form);
}

Outcome<std::shared_ptr<WatchStream>> Reader::watch(const Request& request, const Route& route,
                                                    const std::shared_ptr<const Resource>& resource) const {
  auto form = accepted_form(request.accept, false);
  if (!form) {
    // Clients ask with the Accept header of a list, too.
    form = accepted_form(request.accept, true);
  }
  if (!form) {
    return refuse(form.error());
  }
  const auto options = list_options(request, *resource, true, options_.streaming_lists);
  if (!options) {
    return refuse(options.error());
  }
  auto filter = filter_of(route, *options);
  if (!filter) {
    return refuse(filter.error());
  }
  const std::string bucket = resource->bucket();
  WatchStream::Options stream{.resource = resource,
                              .form = *form,
                              .filter = std::move(*filter),
                              .bookmarks = options->bookmarks,
                              .end = std::chrono::steady_clock::now() + watch_time(*options),
                              .bookmark_interval = options_.bookmark_interval};
  const std::uint64_t asked = options->version.value_or(0);
  const bool initial = options->initial_events ? *options->initial_events : asked == 0;
  const std::uint64_t now = database_.version();
  if (asked > now && options->initial_events) {
    return refuse(too_large_version(asked, now));
  }
  if (initial) {
    auto [page, cursor] = database_.list_and_follow(
        bucket, {.prefix = stream.filter.prefix,
                 .matches = [&](const Object& object) { return stream.filter.matches(object); }});
    for (const ObjectPtr& object : page.items) {
      stream.head += added_event(*object, *resource, *form);
    }
    stream.initial_end = options->initial_events.has_value() && options->bookmarks;
    return std::make_shared<WatchStream>(std::move(stream), page.version, std::move(cursor));
  }
  const std::uint64_t from = asked != 0 ? asked : now;
  auto cursor = database_.follow(bucket, from);
  return std::make_shared<WatchStream>(std::move(stream), from, std::move(cursor));
}

}  // namespace sharder::apiserver
