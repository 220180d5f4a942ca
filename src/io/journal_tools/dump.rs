//! Every record of every log, a line each, as text or JSON.

use std::fmt::Write as _;
use std::io::Write;

use super::{draw_seed, Finding, ToolError};
use crate::ids::ShardId;
use crate::io::data_dir::{read_whole, AtRest};
use crate::journal::{survey, Position, Record, SeenFrame};
use crate::shard::{Field, Fields, RecordReader};

/// How records are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct DumpOptions {
    pub json: bool,
    /// They may be secret, and are left out otherwise.
    pub payloads: bool,
}

/// Frames behind damage are dumped, too; the finding says that there is damage.
pub(super) fn dump(
    data: &AtRest,
    options: DumpOptions,
    out: &mut dyn Write,
) -> Result<Finding, ToolError> {
    let mut finding = Finding::Whole;
    for shard in data.shards() {
        let parts = data.parts(shard)?;
        let mut reader = RecordReader::new(draw_seed());
        let mut bytes = Vec::new();
        for part in &parts {
            let path = data.path_of(shard, part.number);
            read_whole(&path, &mut bytes)?;
            for frame in survey(part.number, &bytes, 0) {
                for line in lines_of(shard, &frame, &mut reader, options) {
                    writeln!(out, "{line}")?;
                }
            }
        }
        let whole = data.fold(shard, &parts, &mut |_, _| Ok(()));
        if let Err(error) = whole {
            finding = Finding::Damaged;
            let fields = vec![("error", Field::Text(error.to_string()))];
            writeln!(out, "{}", line(shard, fields, options))?;
        }
    }
    Ok(finding)
}

fn lines_of(
    shard: ShardId,
    frame: &SeenFrame<'_>,
    reader: &mut RecordReader,
    options: DumpOptions,
) -> Vec<String> {
    if !frame.is_whole() {
        let mut fields = place(frame, frame.at);
        let error = format!("its {} records are not readable", frame.records);
        fields.push(("error", Field::Text(error)));
        return vec![line(shard, fields, options)];
    }
    let mut lines = Vec::new();
    frame.each_record(&mut |at, record| {
        let mut fields = place(frame, at);
        fields.extend(fields_of(&record, reader));
        lines.push(line(shard, fields, options));
    });
    lines
}

fn place(frame: &SeenFrame<'_>, at: Position) -> Fields {
    vec![
        ("segment", Field::Number(at.segment.0.into())),
        ("byte", Field::Number(at.offset.into())),
        ("frame", Field::Number(frame.lsn.0)),
    ]
}

fn fields_of(record: &Record<'_>, reader: &mut RecordReader) -> Fields {
    let described = match reader.read(record) {
        Ok(described) => described,
        Err(problem) => {
            let kind = Field::Number(record.kind.into());
            return vec![("kind", kind), ("error", Field::Text(problem.to_string()))];
        }
    };
    let mut fields = vec![
        ("kind", Field::Text(described.kind.into())),
        ("lane", Field::Number(record.lane.into())),
    ];
    fields.extend(described.key.map(|key| ("session", Field::Number(key))));
    let client_id = described.client_id.map(Field::Text);
    fields.extend(client_id.map(|client_id| ("client_id", client_id)));
    fields.extend(described.fields);
    fields
}

fn line(shard: ShardId, mut fields: Fields, options: DumpOptions) -> String {
    fields.insert(0, ("shard", Field::Number(shard.0.into())));
    let mut out = String::new();
    put_fields(&mut out, &fields, options, true);
    out
}

/// As text the outermost fields stand without braces.
fn put_fields(out: &mut String, fields: &Fields, options: DumpOptions, is_line: bool) {
    let is_bare = is_line && !options.json;
    if !is_bare {
        out.push('{');
    }
    let mut is_first = true;
    for (name, value) in fields {
        if matches!(value, Field::Payload(_)) && !options.payloads {
            continue;
        }
        if !std::mem::replace(&mut is_first, false) {
            out.push_str(if options.json { "," } else { ", " });
        }
        if options.json {
            let _ = write!(out, "\"{name}\":"); // a string takes all
        } else {
            let _ = write!(out, "{name} ");
        }
        put_value(out, value, options);
    }
    if !is_bare {
        out.push('}');
    }
}

fn put_value(out: &mut String, value: &Field, options: DumpOptions) {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let _ = match value {
        Field::Number(number) => write!(out, "{number}"),
        Field::Flag(flag) => write!(out, "{flag}"),
        Field::Text(text) => out.write_str(&quoted(text)),
        Field::Payload(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => out.write_str(&quoted(text)),
            Err(_) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                write!(out, "{{\"hex\":\"{hex}\"}}")
            }
        },
        Field::List(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push_str(if options.json { "," } else { ", " });
                }
                put_value(out, value, options);
            }
            out.write_str("]")
        }
        Field::Fields(fields) => {
            put_fields(out, fields, options, false);
            Ok(())
        }
    };
}
