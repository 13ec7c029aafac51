//! Python objects straight to canonical CBOR and back, without a tree in between.

use std::borrow::Cow;

use coatroom_core::Error;
use coatroom_core::value::{Encoded, MAX_DEPTH, Reader, Token, ValueError, Writer, key_order};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyNone, PyString, PyTuple};

use crate::error::{from_core, raise};

/// The only encoding of `object`. A tuple becomes a list; anything outside the data model raises.
pub(crate) fn encode(object: &Bound<'_, PyAny>) -> PyResult<Encoded> {
    let py = object.py();
    let mut writer = Writer::default();
    write(object, &mut writer, MAX_DEPTH)?;
    Encoded::from_bytes(writer.into_bytes()).map_err(|error| from_core(py, Error::Value(error)))
}

/// The object of canonical bytes.
pub(crate) fn decode(py: Python<'_>, bytes: &[u8]) -> PyResult<Py<PyAny>> {
    read(py, &mut Reader::new(bytes)).map(Bound::unbind)
}

// spec: VAL-6 2b34, VAL-1 3a73
fn write(object: &Bound<'_, PyAny>, writer: &mut Writer, depth: usize) -> PyResult<()> {
    let py = object.py();
    if let Ok(text) = object.cast::<PyString>() {
        writer.text(&text_of(text)?);
    } else if let Ok(value) = object.cast::<PyBool>() {
        writer.bool(value.is_true());
    } else if let Ok(value) = object.cast::<PyInt>() {
        let value = value.extract().map_err(|_| unsupported(py, "an integer outside 64 bits"))?;
        writer.int(value);
    } else if object.is_none() {
        writer.null();
    } else if let Ok(value) = object.cast::<PyFloat>() {
        writer.float(value.value()).map_err(|error| from_core(py, Error::Value(error)))?;
    } else if let Ok(map) = object.cast::<PyDict>() {
        write_map(map, writer, deeper(py, depth)?)?;
    } else if let Ok(list) = object.cast::<PyList>() {
        let depth = deeper(py, depth)?;
        writer.list(list.len());
        for item in list {
            write(&item, writer, depth)?;
        }
    } else if let Ok(tuple) = object.cast::<PyTuple>() {
        let depth = deeper(py, depth)?;
        writer.list(tuple.len());
        for item in tuple {
            write(&item, writer, depth)?;
        }
    } else if let Ok(bytes) = object.cast::<PyBytes>() {
        writer.bytes(bytes.as_bytes());
    } else {
        let name = object.get_type().name()?;
        return Err(unsupported(py, &format!("a value of type {name}")));
    }
    Ok(())
}

fn write_map(map: &Bound<'_, PyDict>, writer: &mut Writer, depth: usize) -> PyResult<()> {
    let mut entries = Vec::with_capacity(map.len());
    for (key, value) in map {
        let Ok(key) = key.cast_into::<PyString>() else {
            return Err(unsupported(map.py(), "a key that is not text"));
        };
        entries.push((text_of(&key)?.into_owned(), value));
    }
    entries.sort_unstable_by(|(a, _), (b, _)| key_order(a, b));
    writer.map(entries.len());
    for (key, value) in &entries {
        writer.text(key);
        write(value, writer, depth)?;
    }
    Ok(())
}

fn text_of<'a>(text: &'a Bound<'_, PyString>) -> PyResult<Cow<'a, str>> {
    text.to_cow().map_err(|_| unsupported(text.py(), "text with lone surrogates"))
}

fn deeper(py: Python<'_>, depth: usize) -> PyResult<usize> {
    depth.checked_sub(1).ok_or_else(|| from_core(py, Error::Value(ValueError::TooDeep)))
}

fn unsupported(py: Python<'_>, what: &str) -> PyErr {
    let message = format!(
        "a session cannot hold {what}: store None, bool, int, float, str, bytes, or lists and dicts with text keys of them"
    );
    raise(py, "value", &message, 500)
}

/// The bytes come out of a record that was checked when it was read, so no nesting here exceeds the limit.
// spec: VAL-6 2b34
fn read<'py>(py: Python<'py>, reader: &mut Reader<'_>) -> PyResult<Bound<'py, PyAny>> {
    let token = reader.token().map_err(|error| from_core(py, Error::Value(error)))?;
    Ok(match token {
        Token::Null => PyNone::get(py).to_owned().into_any(),
        Token::Bool(value) => PyBool::new(py, value).to_owned().into_any(),
        Token::Int(value) => value.into_pyobject(py)?.into_any(),
        Token::Float(value) => PyFloat::new(py, value).into_any(),
        Token::Text(value) => PyString::new(py, value).into_any(),
        Token::Bytes(value) => PyBytes::new(py, value).into_any(),
        Token::List(items) => {
            let list = PyList::empty(py);
            for _ in 0..items {
                list.append(read(py, reader)?)?;
            }
            list.into_any()
        }
        Token::Map(items) => {
            let dict = PyDict::new(py);
            let mut last = None;
            for _ in 0..items {
                let key = reader.key(&mut last).map_err(|error| from_core(py, Error::Value(error)))?;
                dict.set_item(PyString::intern(py, key), read(py, reader)?)?;
            }
            dict.into_any()
        }
    })
}
