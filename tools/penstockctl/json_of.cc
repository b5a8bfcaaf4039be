#include "penstockctl/json_of.h"

#include "penstockctl/text_of.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace penstock::ctl {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

/// START_POLICY_DEMAND of the enum StartPolicy is "demand".
std::string word_of(const EnumValueDescriptor& value) {
    std::string prefix;
    for (const char c : value.type()->name()) {
        const bool is_capital = c >= 'A' && c <= 'Z';
        if (is_capital && !prefix.empty()) {
            prefix.push_back('_');
        }
        prefix.push_back(is_capital ? c : static_cast<char>(c - 'a' + 'A'));
    }
    std::string word = value.name().substr(prefix.size() + 1);
    std::transform(word.begin(), word.end(), word.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return word;
}

void append_message(JsonWriter& json, const Message& message) {
    const Descriptor* type = message.GetDescriptor();
    if (type == v1::Endpoint::descriptor()) {
        const auto& endpoint = static_cast<const v1::Endpoint&>(message);
        endpoint.port() == 0 ? json.null() : json.value(text_of(endpoint));
    } else if (type == v1::Measure::descriptor()) {
        const auto& measure = static_cast<const v1::Measure&>(message);
        measure.supported() ? json.value(measure.share()) : json.null();
    } else {
        append_json(json, message);
    }
}

void append_single(JsonWriter& json, const Message& message, const FieldDescriptor& field) {
    const Reflection& fields = *message.GetReflection();
    switch (field.cpp_type()) {
        case FieldDescriptor::CPPTYPE_BOOL:
            json.value(fields.GetBool(message, &field));
            break;
        case FieldDescriptor::CPPTYPE_UINT32:
            json.value(fields.GetUInt32(message, &field));
            break;
        case FieldDescriptor::CPPTYPE_UINT64: {
            const std::uint64_t number = fields.GetUInt64(message, &field);
            field.type() == FieldDescriptor::TYPE_FIXED64 ? json.value(text_of_id(number))
                                                          : json.value(number);
            break;
        }
        case FieldDescriptor::CPPTYPE_DOUBLE:
            json.value(fields.GetDouble(message, &field));
            break;
        case FieldDescriptor::CPPTYPE_ENUM:
            json.value(word_of(*fields.GetEnum(message, &field)));
            break;
        case FieldDescriptor::CPPTYPE_STRING: {
            const std::string text = fields.GetString(message, &field);
            json.value(field.type() == FieldDescriptor::TYPE_BYTES ? text_of_address(text) : text);
            break;
        }
        case FieldDescriptor::CPPTYPE_MESSAGE:
            if (fields.HasField(message, &field)) {
                append_message(json, fields.GetMessage(message, &field));
            } else {
                json.null();
            }
            break;
        default:  // presence.proto has no other types
            json.null();
            break;
    }
}

}  // namespace

void append_json(JsonWriter& json, const Message& message) {
    const Descriptor& type = *message.GetDescriptor();
    const Reflection& fields = *message.GetReflection();
    json.begin_object();
    for (int i = 0; i < type.field_count(); ++i) {
        const FieldDescriptor& field = *type.field(i);
        json.key(field.name());
        if (!field.is_repeated()) {
            append_single(json, message, field);
            continue;
        }
        // Every list an operator is shown is one of messages or of numbers.
        json.begin_array();
        for (int n = 0; n < fields.FieldSize(message, &field); ++n) {
            if (field.cpp_type() == FieldDescriptor::CPPTYPE_UINT32) {
                json.value(fields.GetRepeatedUInt32(message, &field, n));
            } else {
                append_message(json, fields.GetRepeatedMessage(message, &field, n));
            }
        }
        json.end_array();
    }
    json.end_object();
}

}  // namespace penstock::ctl
