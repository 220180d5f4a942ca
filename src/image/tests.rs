use super::*;
use crate::time::WallTime;

fn written(put: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut Writer::begin(&mut out, Kind::Session));
    out
}

fn reader(bytes: &[u8]) -> Reader<'_> {
    Reader::begin(bytes, Kind::Session).unwrap()
}

#[test]
fn format_and_kind_come_first() {
    let mut bytes = written(|_| {});
    assert_eq!(bytes, [FORMAT, Kind::Session as u8]);
    reader(&bytes).end().unwrap();
    let other = Reader::begin(&bytes, Kind::Connection).unwrap_err();
    let (found, expected) = (1, Kind::Connection);
    assert_eq!(other, ImageError::Kind { found, expected });
    bytes[0] = FORMAT + 1;
    let newer = Reader::begin(&bytes, Kind::Session).unwrap_err();
    assert_eq!(newer, ImageError::Format { found: FORMAT + 1 });
    let said = newer.to_string();
    assert_eq!(
        said,
        "the image has format 2; this version reads formats 1 to 1"
    );
}

/// As it will be: a release reads what the one before has written, and fields that came since are as they say.
#[test]
fn the_format_before_is_read_and_no_other() {
    assert_eq!([1, 2, 3, 9].map(oldest_read_by), [1, 1, 2, 8]);
    let image = |format: u8, fields: &[u8]| [&[format, Kind::Session as u8], fields].concat();
    let newest = 5;
    let formats = (oldest_read_by(newest), newest);
    let read = |bytes: &[u8]| {
        let mut it = Reader::begin_within(bytes, Kind::Session, formats)?;
        let fields = (it.byte()?, it.since(5, 77, Reader::byte)?, it.byte()?);
        it.end().map(|()| fields)
    };
    assert_eq!(read(&image(5, &[1, 2, 3])), Ok((1, 2, 3)));
    assert_eq!(read(&image(4, &[1, 3])), Ok((1, 77, 3)));
    assert_eq!(read(&image(5, &[1, 3])), Err(ImageError::Truncated));
    for found in [0, 3, 6, 255] {
        let refused = Err(ImageError::Format { found });
        assert_eq!(read(&image(found, &[1, 2, 3])), refused);
    }
}

#[test]
fn fields_are_read_as_they_were_written() {
    let bytes = written(|out| {
        out.byte(7);
        out.flag(true);
        out.short(0xABCD);
        out.number(0x0123_4567);
        out.time(WallTime(1 << 60));
        out.text("äh");
        out.option(None::<u8>, Writer::byte);
        out.option(Some(9), Writer::byte);
        out.list([1_u16, 2].into_iter(), Writer::short);
    });
    let mut it = reader(&bytes);
    assert_eq!(it.byte(), Ok(7));
    assert_eq!(it.flag(), Ok(true));
    assert_eq!(it.short(), Ok(0xABCD));
    assert_eq!(it.number(), Ok(0x0123_4567));
    assert_eq!(it.time(), Ok(WallTime(1 << 60)));
    assert_eq!(it.text("a name"), Ok("äh"));
    assert_eq!(it.option(Reader::byte), Ok(None));
    assert_eq!(it.option(Reader::byte), Ok(Some(9)));
    assert_eq!(it.list(2, Reader::short), Ok(vec![1, 2]));
    it.end().unwrap();
}

/// So that nothing is reserved for what a length only claims.
#[test]
fn a_count_is_never_more_than_its_bytes_have_room_for() {
    for count in [0, 1, 127, 128, 300, 70_000] {
        let bytes = written(|out| {
            out.count(count);
            (0..count).for_each(|_| out.short(1));
        });
        assert_eq!(reader(&bytes).count(2), Ok(count));
        let short = reader(&bytes[..bytes.len() - 1]).count(2);
        assert!(short.is_err(), "{count}");
    }
    let most = [
        FORMAT, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F,
    ];
    assert_eq!(reader(&most).count(1), Err(ImageError::Truncated));
    let endless = [&[FORMAT, 1][..], &[0xFF; 12]].concat();
    let odd = ImageError::invalid("a count");
    assert_eq!(reader(&endless).count(1), Err(odd));
    assert_eq!(
        reader(&[FORMAT, 1, 0x80, 0]).count(1),
        Err(odd),
        "not the shortest"
    );
}

#[test]
fn what_follows_or_is_no_text_is_refused() {
    let bytes = written(|out| out.bytes(&[0xFF]));
    let wrong = Err(ImageError::invalid("a name"));
    assert_eq!(reader(&bytes).text("a name"), wrong);
    let trailing = Err(ImageError::Trailing { bytes: 2 });
    assert_eq!(reader(&bytes).end(), trailing);
    let long = written(|out| out.bytes(&[b'a'; 65_536]));
    assert_eq!(reader(&long).text("a name"), wrong);
    assert_eq!(
        reader(&[FORMAT, 1, 2]).flag(),
        Err(ImageError::invalid("a flag"))
    );
}
